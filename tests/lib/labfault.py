# SPDX-License-Identifier: Apache-2.0
"""Tells a guest that hangs from a lab whose emulated processor has lost the guest.

QEMU 7.2 sometimes, about once in a hundred guests, lets VMRUN go on with the host's registers: the
vCPU then faults for ever, at an instruction of the lab's own kvm-amd and at an address where the
guest has no memory. No monitor can do anything about it, and none with a real processor gets there:
an access outside the guest's memory leaves KVM for the monitor.
"""
import os
import re
import time

TRACING = "/sys/kernel/tracing"
EVENTS = ("kvm/kvm_exit", "kvm/kvm_userspace_exit")
EXIT = re.compile(r"-(\d+) +\[\d+\].* kvm_exit: .*reason (\S+) rip (0x[0-9a-f]+) "
                  r"info1 0x[0-9a-f]+ info2 (0x[0-9a-f]+)")
ENOUGH = 200    # exits in a row that are all the same


def end_of_memory(mem_mib):
    """The first guest-physical address behind all RAM, which goes on above the gap at 3 GiB."""
    return (mem_mib << 20) + (1 << 30 if mem_mib > 3072 else 0)


def lost(trace, tid, memory_end):
    """True if the thread does nothing but fault at one place, outside the guest's memory."""
    seen = set()
    count = 0
    for line in trace.splitlines():
        if f"-{tid} " not in line or line.startswith("#"):
            continue
        m = EXIT.search(line)
        if not m:
            return False    # another event: the monitor was asked
        seen.add(m.groups())
        count += 1
    if count < ENOUGH or len(seen) != 1:
        return False
    _, reason, _, address = seen.pop()
    return reason == "npf" and int(address, 16) >= memory_end


def _write(path, text):
    with open(os.path.join(TRACING, path), "w", encoding="ascii") as f:
        f.write(text)


def _trace():
    _write("trace", "")
    for event in EVENTS:
        _write(f"events/{event}/enable", "1")
    time.sleep(0.3)
    for event in EVENTS:
        _write(f"events/{event}/enable", "0")
    with open(os.path.join(TRACING, "trace"), encoding="ascii", errors="replace") as f:
        return f.read()


def emulated():
    """True in the lab, and wherever else the processor is QEMU's."""
    with open("/proc/cpuinfo", encoding="ascii", errors="replace") as f:
        return "QEMU TCG CPU" in f.read()


def check(pid, mem_mib):
    """True if a vCPU of this monitor is lost. Only in the lab; False if it cannot be told."""
    try:
        if not emulated():
            return False
        if not os.path.exists(os.path.join(TRACING, "trace")):
            os.system(f"mount -t tracefs none {TRACING} 2>/dev/null")
        trace = _trace()
        return any(lost(trace, tid, end_of_memory(mem_mib))
                   for tid in os.listdir(f"/proc/{pid}/task"))
    except OSError:
        return False


# A processor of the lab that ran nothing else for 20 s, or nothing at all: see lab/README.md, Limits.
STUCK = re.compile(r"soft lockup - CPU#\d+ stuck|detected stalls? on CPU")


class KernelLog:
    """What the lab's kernel says from now on; nothing where the processor is not emulated."""

    def __init__(self):
        self.fd, self.lines = -1, []
        if emulated():
            self.fd = os.open("/dev/kmsg", os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
            os.lseek(self.fd, 0, os.SEEK_END)

    def read(self):
        """All lines so far."""
        while self.fd >= 0:
            try:
                record = os.read(self.fd, 8192).decode(errors="replace")
            except BlockingIOError:
                break
            except BrokenPipeError:     # some were overwritten before they were read
                continue
            self.lines.append(record.split(";", 1)[-1].splitlines()[0])
        return self.lines

    def stuck(self):
        """The line that says that a processor of the lab was stuck, or None."""
        return next((line for line in self.read() if STUCK.search(line)), None)

    def close(self):
        if self.fd >= 0:
            os.close(self.fd)
