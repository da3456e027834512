# SPDX-License-Identifier: Apache-2.0
"""Guests that are saved at random moments and go on in another process (tests/lib/state-run.c), which
also compares the state of each loaded VM, saved again, with the one that was loaded."""
import os
import re
import subprocess

import vt
from vmm import BUILD, disk, payload


def _pieces(name, stops, seed, *args, ms=100, cmdline=None, timeout=100, stdin=subprocess.DEVNULL):
    """The checksum of memory at the end, and how often the guest was stopped."""
    program = os.path.join(BUILD, "tests", "state-run")
    argv = [program, str(stops), str(seed), str(ms), vt.tmp(), "--kernel", payload(name), "--mem", "16",
            *args, *(["--cmdline", cmdline] if cmdline else [])]
    r = subprocess.run(argv, stdin=stdin, capture_output=True, text=True, check=False,
                       timeout=timeout * vt.FACTOR)
    story = f"{' '.join(argv)}\n{r.stdout[-2000:]}\n{r.stderr[-3000:]}"
    vt.check(r.returncode == 0 and "PASS\n" in r.stdout.replace("\r", ""), story)
    end = re.search(r"memory ([0-9a-f]{8}) after (\d+) stops", r.stderr)
    vt.check(end, story)
    return end[1], int(end[2])


@vt.test("a computation that is stopped and goes on elsewhere ends with the same memory", timeout=300)
def _():
    whole, _ = _pieces("state", 0, 0, cmdline="rounds=12")
    stops = 0
    for seed in range(1, 4):
        memory, n = _pieces("state", 40, seed, ms=200, cmdline="rounds=12")
        vt.same(memory, whole, f"memory with seed {seed}")
        stops += n
    vt.check(stops >= 20, f"only {stops} stops")


for IO in ("sync", "uring"):
    @vt.test(f"a disk that is written and read in pieces, io={IO}", timeout=200)
    def _(io=IO):
        _, stops = _pieces("blk", 20, 5, "--disk", f"{disk()},io={io}", ms=30)
        vt.check(stops > 3, f"only {stops} stops")

    @vt.test(f"resets of a disk in pieces, io={IO}", timeout=200)
    def _(io=IO):
        _, stops = _pieces("storm", 15, 6, "--disk", f"{disk()},io={io}", cmdline="rounds=60")
        vt.check(stops > 3, f"only {stops} stops")


@vt.test("processors that are started, entropy and a serial port, in pieces", timeout=200)
def _():
    stops = 0
    for seed in range(3):
        stops += _pieces("smp", 9, seed, "--cpus", "4", ms=10, cmdline="expect.cpus=4")[1]
        stops += _pieces("rng", 9, seed, ms=10)[1]
        stops += _pieces("serial", 9, seed, ms=10)[1]
    vt.check(stops > 5, f"only {stops} stops")
