# SPDX-License-Identifier: Apache-2.0
"""What a CPU template hides, Linux does not find."""
import json
import os

import vt
from linux import Linux, root_disk

SCRIPT = """
awk -F: '/^flags/ { print "flags" n++ "=" $2 } /^microcode/ { print "microcode" m++ "=" $2 }' \\
    /proc/cpuinfo
"""
HIDDEN, CPUS, MICROCODE = ("popcnt", "sse4_2"), 2, 0x4711


def _template():
    path = os.path.join(vt.tmp(), "template.json")
    bitmap = "".join("0" if bit in (20, 23) else "x" for bit in reversed(range(32)))
    with open(path, "w", encoding="ascii") as f:
        json.dump({"cpuid_modifiers": [
            {"leaf": "0x1", "subleaf": "0x0", "flags": 0, "modifiers": [
                {"register": "ecx", "bitmap": "0b" + bitmap}]}],
            "msr_modifiers": [{"addr": "0x8b", "bitmap": f"0b{MICROCODE:064b}"}]}, f)
    return path


def _flags(*args):
    g = Linux("tuned-pvh", SCRIPT, root_disk(f"root{len(args)}"), *args, cpus=CPUS).finished()
    return g, [set(g.value(f"flags{n}").split()) for n in range(CPUS)]


@vt.test("a custom template hides flags of every CPU, and sets the microcode's number", timeout=120)
def _():
    _, plain = _flags()
    vt.check(plain[0] >= set(HIDDEN), f"the host has no {HIDDEN} to hide: {plain[0]}")
    g, changed = _flags("--cpu-config", _template())
    for n in range(CPUS):
        vt.same(plain[0] - changed[n], set(HIDDEN), f"hidden flags of CPU {n}")
        vt.same(changed[n] - plain[0], set(), f"new flags of CPU {n}")
    with open("/proc/cpuinfo", encoding="ascii") as f:
        amd = "AuthenticAMD" in f.read()
    if amd:  # Linux reads 0x8b as it is; on Intel the number is in the upper half
        for n in range(CPUS):
            vt.same(int(g.value(f"microcode{n}"), 16), MICROCODE, f"microcode of CPU {n}")
