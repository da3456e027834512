# SPDX-License-Identifier: Apache-2.0
"""Guests that break the protocol: the monitor neither crashes, hangs nor leaks."""
import os
import time

import vt
from vmm import disk, guest


def _hostile(options):
    g = guest("hostile", disks=[disk("a.img") + options, disk("b.img") + options],
              cmdline="expect.mib=128").passed(seconds=100)
    g.expect(len(g.err()) < 30000, f"{len(g.err())} bytes of log")


vt.test("rings that lie", timeout=120)(lambda: _hostile(""))
vt.test("rings that lie, io=uring", timeout=120)(lambda: _hostile(",io=uring"))


def _noise(seed):
    g = guest("noise", disks=[disk("a.img"), disk("b.img")], cmdline=f"seed={seed}").passed(
        seconds=60)
    g.expect(len(g.err()) < 30000, f"{len(g.err())} bytes of log")


for SEED in (1, 4711):
    vt.test(f"register noise, seed {SEED}", timeout=80)(lambda seed=SEED: _noise(seed))
vt.test("register noise, a seed of today", timeout=80)(
    lambda: (print(seed := int(time.time())), _noise(seed)))


@vt.test("a storm leaves file descriptors, threads and memory as they were", timeout=120)
def _():
    g = guest("storm", disks=[disk() + ",io=uring"], cmdline="rounds=150")
    g.wait_for("round 8\n")
    fds, threads, rss = g.fds(), sorted(g.threads()), _rss(g.pid)
    while True:
        time.sleep(0.5)
        try:
            if g.proc.poll() is not None:
                break
            # io_uring's workers come and go; they are threads of the kernel.
            now = [t for t in sorted(g.threads()) if not t.startswith("iou-")]
            g.expect(g.fds() == fds, f"descriptors were {fds}, are {g.fds()}")
            g.expect(now == [t for t in threads if not t.startswith("iou-")],
                     f"threads were {threads}, are {now}")
            g.expect(_rss(g.pid) < rss + 4096, f"memory was {rss} KiB, is {_rss(g.pid)}")
        except (FileNotFoundError, ProcessLookupError):
            break
    g.passed(seconds=60)
    g.expect(len(g.err()) < 30000, f"{len(g.err())} bytes of log")


def _rss(pid):
    with open(f"/proc/{pid}/status", encoding="ascii") as f:
        for line in f:
            if line.startswith("VmRSS:"):
                return int(line.split()[1])
    raise FileNotFoundError(pid)


@vt.test("the log of a hostile guest is bounded and names the device")
def _():
    log = os.path.join(vt.tmp(), "log")
    g = guest("storm", "--log-path", log, disks=[disk()], cmdline="rounds=60").passed()
    with open(log, encoding="ascii") as f:
        lines = f.read().splitlines()
    g.expect(any("disk0" in line for line in lines), f"no line names disk0: {lines[:20]}")
    g.expect(len(lines) < 100, f"{len(lines)} lines of log")
