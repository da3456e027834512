# SPDX-License-Identifier: Apache-2.0
"""CPU templates reach the guest's CPUs, and --cpu-fingerprint says what they see."""
import json
import os
import re
import subprocess

import vt
from vmm import BINARY, ERROR, guest

EXT = 0x80000001
REGS = ("eax", "ebx", "ecx", "edx")
# Another stepping, two flags gone; the microcode revision and the last entry of the PAT are other
# ones. Software KVM overwrites the flags in leaf 1 and 7 with the host's: tests/linux has those.
TEMPLATE = {
    "kvm_capabilities": ["!36"],
    "cpuid_modifiers": [
        {"leaf": "0x1", "subleaf": "0x0", "flags": 0, "modifiers": [
            {"register": "eax", "bitmap": "0b1010"}]},
        {"leaf": "0x80000001", "subleaf": "0x0", "flags": 0, "modifiers": [
            {"register": "ecx", "bitmap": "0b0"},
            {"register": "edx", "bitmap": "0b0" + 22 * "x"}]}],
    "msr_modifiers": [{"addr": "0x8b", "bitmap": "0b" + "1" + 32 * "0"},
                      {"addr": "0x277", "bitmap": "0b00000001" + 56 * "x"}],
}


def _file(template):
    path = os.path.join(vt.tmp(), "template.json")
    with open(path, "w", encoding="ascii") as f:
        json.dump(template, f)
    return path


def _fingerprint(*args):
    r = subprocess.run([BINARY, "--cpu-fingerprint", *args], capture_output=True, text=True,
                       check=False, timeout=30 * vt.FACTOR)
    vt.same(r.returncode, 0, f"exit status (stderr: {r.stderr!r})")
    return json.loads(r.stdout)


def _seen(*args, cpus=1):
    """What the guest's CPUs printed: [{(leaf, register): value, msr: value}]."""
    g = guest("template", *args, cpus=cpus, cmdline=f"expect.cpus={cpus}").passed()
    cpu = [{} for _ in range(cpus)]
    for n, leaf, values in re.findall(r"^cpu(\d+) leaf (\w+): (.*)$", g.out(), re.M):
        for reg, value in zip(REGS, values.split()):
            cpu[int(n)][int(leaf, 16), reg] = int(value, 16)
    for n, msr, value in re.findall(r"^cpu(\d+) msr (\w+): (\w+)$", g.out(), re.M):
        cpu[int(n)][int(msr, 16)] = int(value, 16)
    return cpu


def _predicted(*args):
    """The same from the fingerprint."""
    cpu = {}
    config = _fingerprint(*args)["guest_cpu_config"]
    for leaf in config["cpuid_modifiers"]:
        for m in leaf["modifiers"]:
            if int(leaf["subleaf"], 16) == 0:
                cpu[int(leaf["leaf"], 16), m["register"]] = int(m["bitmap"], 2)
    for m in config["msr_modifiers"]:
        cpu[int(m["addr"], 16)] = int(m["bitmap"], 2)
    return cpu


def _same(seen, predicted):
    for key in seen:
        if key in predicted:  # KVM does not list every MSR
            vt.same(hex(seen[key]), hex(predicted[key]), f"{key}")


@vt.test("a custom template reaches CPUID and MSRs of every CPU; the fingerprint foretells them")
def _():
    plain, changed = _seen(), _seen("--cpu-config", _file(TEMPLATE), cpus=2)
    for cpu in changed:
        vt.same(cpu[1, "eax"], plain[0][1, "eax"] & ~0xf | 10, "signature")
        vt.same(cpu[EXT, "ecx"], plain[0][EXT, "ecx"] & ~1, "leaf 0x80000001 ECX")
        vt.same(cpu[EXT, "edx"], plain[0][EXT, "edx"] & ~(1 << 22), "leaf 0x80000001 EDX")
        vt.same(cpu[0x8b], 1 << 32, "MSR 0x8b")
        vt.same(cpu[0x277], plain[0][0x277] & ~(0xff << 56) | 1 << 56, "MSR 0x277")
    vt.check(plain[0][EXT, "ecx"] & 1, "LAHF is there to be hidden")
    _same(plain[0], _predicted())
    _same(changed[0], _predicted("--cpu-config", _file(TEMPLATE), "--cpus", "2"))


@vt.test("the fingerprint of a host is the same at each run, and its leaves are a template")
def _():
    first = _fingerprint()
    vt.same(_fingerprint(), first, "fingerprint")
    vt.check(first["kernel_version"] == os.uname().release, "kernel")
    leaves = first["guest_cpu_config"]["cpuid_modifiers"]
    # All levels of the topology are ours: KVM has the first of them.
    own = [leaf for leaf in leaves if int(leaf["leaf"], 16) not in (0xb, 0x1f)]
    vt.same(_fingerprint("--cpu-config", _file({"cpuid_modifiers": own}))["guest_cpu_config"]
            ["cpuid_modifiers"], leaves, "CPUID under its own template")


@vt.test("a template is in the document, inline or by its path; the static one too")
def _():
    static = {"boot-source": {}, "machine-config": {"cpu_template": "T2A"}}
    inline = {"cpu-config": TEMPLATE, **static}
    named = {"cpu-config": _file(TEMPLATE), **static}
    path = os.path.join(vt.tmp(), "vm.json")

    def of(document):
        with open(path, "w", encoding="ascii") as f:
            json.dump(document, f)
        return subprocess.run([BINARY, "--cpu-fingerprint", "--config-file", path],
                              capture_output=True, text=True, check=False,
                              timeout=30 * vt.FACTOR)

    vt.same(of(inline).stdout, of(named).stdout, "inline and by path")
    vt.same(json.loads(of(inline).stdout), _fingerprint("--cpu-config", _file(TEMPLATE)), "custom")
    r = of(static)
    cpu = _fingerprint()["cpu"]
    if (cpu["vendor"], cpu["family"], cpu["model"], cpu["stepping"]) == ("AuthenticAMD", 25, 1, 1):
        leaf = json.loads(r.stdout)["guest_cpu_config"]["cpuid_modifiers"][1]
        vt.same(int(leaf["modifiers"][0]["bitmap"], 2), 0x306f2, "the signature under T2A")
    else:
        vt.same(r.returncode, ERROR, "exit status of T2A elsewhere")
        vt.check("CPU template." in r.stderr, r.stderr)


@vt.test("a leaf, an MSR or a capability that KVM does not have is an error that names it")
def _():
    def refused(template, text):
        g = guest("template", "--cpu-config", _file(template)).wait(ERROR)
        g.expect(text in g.err(), f"no {text!r}")

    refused({"cpuid_modifiers": [{"leaf": "0x12345678", "subleaf": "0x1", "flags": 1,
                                  "modifiers": []}]}, "Leaf: 12345678, Subleaf: 1")
    refused({"msr_modifiers": [{"addr": "0x7ffffff0", "bitmap": "1"}]},
            "Register Address: 7ffffff0")
    refused({"kvm_capabilities": ["99999"]}, "capability 99999")
