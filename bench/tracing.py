# SPDX-License-Identifier: Apache-2.0
"""When the first guest instruction ran: the first kvm:kvm_entry event of the kernel's trace.

A trigger stops the recording at that event, so later entries cost one test of a flag, for every
contestant the same. A trace instance of our own leaves other users of tracefs alone.
"""
import contextlib
import os
import re

STAMP = re.compile(r"\s(\d+)\.(\d{6}): kvm_entry:")
TRIGGER = "traceoff:1"


class FirstEntry:
    def __init__(self):
        self.dir, self.note = None, ""
        base = next((d for d in ("/sys/kernel/tracing", "/sys/kernel/debug/tracing")
                     if os.path.isdir(d + "/events/kvm/kvm_entry")), None)
        if not base:
            self.note = "not measured: no readable tracefs with kvm:kvm_entry here"
            return
        try:
            own = f"{base}/instances/volt-bench-{os.getpid()}"
            os.mkdir(own)
            self.dir = own
            self._write("trace_clock", "mono")
            self._write("events/kvm/kvm_entry/enable", "1")
            self.note = "kvm:kvm_entry with trace clock mono"
        except OSError as e:
            self.done()
            self.note = f"not measured: tracefs: {e.strerror}"

    def _write(self, name, text):
        with open(os.path.join(self.dir, name), "w", encoding="ascii") as f:
            f.write(text)

    def arm(self):
        if not self.dir:
            return
        with contextlib.suppress(OSError):  # none is there at first, and a used one is removed anew
            self._write("events/kvm/kvm_entry/trigger", "!" + TRIGGER)
        self._write("tracing_on", "0")
        self._write("trace", "")
        self._write("events/kvm/kvm_entry/trigger", TRIGGER)
        self._write("tracing_on", "1")

    def read(self):
        """Nanoseconds of CLOCK_MONOTONIC (to the microsecond), or None."""
        if not self.dir:
            return None
        with open(os.path.join(self.dir, "trace"), encoding="ascii", errors="replace") as f:
            for line in f:
                m = STAMP.search(line)
                if m:
                    return int(m[1]) * 1000000000 + int(m[2]) * 1000
        return None

    def done(self):
        if self.dir:
            with contextlib.suppress(OSError):
                self._write("tracing_on", "0")
                self._write("events/kvm/kvm_entry/enable", "0")
            with contextlib.suppress(OSError):
                os.rmdir(self.dir)
            self.dir = None
