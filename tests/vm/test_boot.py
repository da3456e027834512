# SPDX-License-Identifier: Apache-2.0
"""What a guest finds when it starts: entry state, memory, CPUs, tables."""
import vt
from vmm import guest

WORDS = "payload.word payload.number=4711"


@vt.test("hello by the Linux 64-bit protocol")
def _():
    guest("hello", cmdline=WORDS).passed()


@vt.test("hello by PVH")
def _():
    guest("hello-pvh", cmdline=WORDS + " expect.protocol=2", protocol="pvh").passed()


@vt.test("auto takes PVH where there is a note, and Linux 64 where there is none")
def _():
    guest("hello-pvh", cmdline=WORDS + " expect.protocol=2", protocol=None).passed()
    guest("hello", cmdline=WORDS, protocol=None).passed()


@vt.test("a kernel with both entries can be made to use the Linux 64-bit one")
def _():
    guest("hello-pvh", cmdline=WORDS, protocol="linux").passed()


@vt.test("a kernel without a PVH note cannot be entered by PVH: error 1 that says so")
def _():
    g = guest("hello", cmdline=WORDS, protocol="pvh").wait(1)
    g.expect("PVH" in g.err(), "the message does not name PVH")


def _memory(mib, **kw):
    guest("memory" if kw.get("protocol") != "pvh" else "memory-pvh", mem=mib,
          cmdline=f"expect.mib={mib}", **kw).passed()


for MIB in (16, 128, 512, 3071, 3072, 3073, 4096, 5120):
    vt.test(f"memory map is exact with {MIB} MiB")(lambda mib=MIB: _memory(mib))
vt.test("memory map is exact with 4096 MiB, by PVH")(lambda: _memory(4096, protocol="pvh"))


def _smp(cpus, *args, **kw):
    more = " expect.no_acpi" if "--no-acpi" in args else ""
    name = "smp-pvh" if kw.get("protocol") == "pvh" else "smp"
    guest(name, *args, cpus=cpus, cmdline=f"expect.cpus={cpus}{more}", **kw).passed()


for CPUS in (1, 2, 3, 4, 32):
    vt.test(f"{CPUS} CPUs start, MADT and MP table agree")(lambda cpus=CPUS: _smp(cpus))
    vt.test(f"{CPUS} CPUs start through the MP table alone")(
        lambda cpus=CPUS: _smp(cpus, "--no-acpi"))
vt.test("2 CPUs start, by PVH")(lambda: _smp(2, protocol="pvh"))


for CPUS in (1, 2, 4, 32):
    vt.test(f"CPUID topology of {CPUS} CPUs")(
        lambda cpus=CPUS: guest("cpuid", cpus=cpus, cmdline=f"expect.cpus={cpus}").passed())
vt.test("CPUID topology of 4 CPUs with two threads a core")(
    lambda: guest("cpuid", "--smt", cpus=4, cmdline="expect.cpus=4 expect.smt").passed())
