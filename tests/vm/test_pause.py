# SPDX-License-Identifier: Apache-2.0
"""Payload guests that stand still and go on."""
import os
import time

import vt
from vmm import KILLED, api_client, disk, guest, set_state


def _start(name, *args, **kw):
    sock = os.path.join(vt.tmp(), "api")
    g = guest(name, "--api-sock", sock, *args, **kw)
    return g, api_client(sock)


def _still(g, seconds):
    """Nothing comes from the guest for so long."""
    before, end = g.out(), time.monotonic() + seconds
    while time.monotonic() < end:
        g.expect(g.out() == before, "it speaks while it is paused")
        time.sleep(0.02)


def _resets(io):
    g, client = _start("storm", disks=[f"{disk()},io={io}"], cmdline="rounds=250")
    g.wait_for("round 0\n")
    rounds = 0
    while g.proc.poll() is None and rounds < 20:
        try:
            set_state(g, client, "Paused")
        except BrokenPipeError:
            break  # it was done before it could be paused once more
        _still(g, 0.05)
        set_state(g, client, "Resumed")
        rounds += 1
        said = g.out()
        vt.until(lambda said=said: g.proc.poll() is not None or g.out() != said, "it goes on", 20)
    g.passed(seconds=60)
    vt.check(rounds > 3, f"only {rounds} pauses")


for IO in ("sync", "uring"):
    vt.test(f"paused again and again between resets of a disk with io={IO}", timeout=120)(
        lambda io=IO: _resets(io))


@vt.test("what is typed while it is paused is there afterwards", timeout=60)
def _():
    read, write = os.pipe()
    text = bytes(range(32, 126)) * 8
    g, client = _start("echo", stdin=read)
    g.wait_for("ready\n")
    set_state(g, client, "Paused")
    os.write(write, text + b"~")
    _still(g, 1)
    set_state(g, client, "Resumed")
    g.passed()
    total = 0
    for c in text:
        total = (total * 31 + c) & 0xffffffff
    g.expect(f"got {len(text)} sum {total:x} overruns 0\n" in g.out(), f"not {len(text)} {total:x}")


@vt.test("SIGTERM ends a paused guest at once", timeout=40)
def _():
    read, _write = os.pipe()
    g, client = _start("echo", "--shutdown-timeout", 1000, stdin=read)
    g.wait_for("ready\n")
    set_state(g, client, "Paused")
    g.terminate()
    g.wait(KILLED, 10)
