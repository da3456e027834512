#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""tests/lib/labfault.py must know the fault, and take nothing else for it."""
import os
import sys
import unittest

sys.dont_write_bytecode = True
sys.path.insert(0, os.path.join(os.path.dirname(os.path.realpath(__file__)), "..", "lib"))
import labfault  # noqa: E402 pylint: disable=wrong-import-position

HEAD = "          vcpu 0-224     [001] .....   548.5947%02d: kvm_"
END = labfault.end_of_memory(256)


def exits(count, reason="npf", rip="0xffffffffc045820c", address="0x0000000103386fe0"):
    return "".join(f"{HEAD % (i % 100)}exit: vcpu 0 reason {reason} rip {rip} info1 "
                   f"0x000000020000000e info2 {address} intr_info 0x80000b0e error_code "
                   "0x00000010\n" for i in range(count))


class LabFault(unittest.TestCase):
    def test_the_fault(self):
        self.assertTrue(labfault.lost("# tracer: nop\n" + exits(300), 224, END))

    def test_too_few(self):
        self.assertFalse(labfault.lost(exits(20), 224, END))
        self.assertFalse(labfault.lost("", 224, END))

    def test_another_thread(self):
        self.assertFalse(labfault.lost(exits(300), 22, END))

    def test_a_guest_that_spins(self):
        self.assertFalse(labfault.lost(exits(300, reason="interrupt"), 224, END))

    def test_a_guest_that_gets_on(self):
        self.assertFalse(labfault.lost(
            exits(200) + exits(200, rip="0xffffffff81000000"), 224, END))

    def test_memory_that_it_has(self):
        self.assertFalse(labfault.lost(exits(300, address="0x0000000003386fe0"), 224, END))
        self.assertFalse(labfault.lost(exits(300), 224, labfault.end_of_memory(5120)))

    def test_the_monitor_was_asked(self):
        asked = HEAD % 0 + "userspace_exit: reason KVM_EXIT_MMIO (6)\n"
        self.assertFalse(labfault.lost(exits(300) + asked, 224, END))

    def test_what_a_stuck_processor_makes_the_kernel_say(self):
        for line in ("watchdog: BUG: soft lockup - CPU#1 stuck for 26s! [python3:214]",
                     "rcu: INFO: rcu_preempt self-detected stall on CPU",
                     "rcu: INFO: rcu_preempt detected stalls on CPUs/tasks:"):
            self.assertTrue(labfault.STUCK.search(line), line)
        for line in ("volt-tap0: entered promiscuous mode", "kvm [214]: ignored rdmsr: 0xc0010064"):
            self.assertFalse(labfault.STUCK.search(line), line)


if __name__ == "__main__":
    unittest.main()
