# SPDX-License-Identifier: Apache-2.0
"""How a VM ends: exit statuses, signals, and what is left behind."""
import fcntl
import os
import signal
import time

import vt
from vmm import KILLED, PANIC, TRIPLE_FAULT, disk, guest


@vt.test("triple fault: 17, with the registers on stderr")
def _():
    g = guest("end", cmdline="end=0").passed(TRIPLE_FAULT)
    g.expect("1122334455667788" in g.err(), "RAX is not in the dump")
    g.expect("rip" in g.err() and "cr3" in g.err(), "no register dump")


@vt.test("panic by pvpanic: 16, with the end of the console on stderr")
def _():
    g = guest("end", cmdline="end=1").passed(PANIC)
    g.expect("panic" in g.err() and "PASS" in g.err(), "no report")


@vt.test("SIGTERM: a guest that answers the power button ends with 0")
def _():
    g = guest("end", "--shutdown-timeout", 9, cmdline="end=3")
    g.wait_for("ready")
    g.terminate()
    g.passed(seconds=3)
    g.expect("button" in g.out(), "not by the button")


@vt.test("SIGTERM: a guest without a power button gets Ctrl-Alt-Del")
def _():
    g = guest("end", "--shutdown-timeout", 3, cmdline="end=3 no.button")
    g.wait_for("ready")
    started = time.monotonic()
    g.terminate()
    g.passed(seconds=6)
    g.expect("key " in g.out(), "not by the keyboard")
    vt.check(0.8 < time.monotonic() - started < 2.9 * vt.FACTOR, "not after a third of the time")


def _ignores(end, name):
    g = guest("end", "--shutdown-timeout", 2, cmdline=f"end={end}")
    g.wait_for("ready")
    started = time.monotonic()
    g.terminate()
    g.wait(KILLED, seconds=6)
    took = time.monotonic() - started
    g.expect(1.8 < took < 2.0 + 2 * vt.FACTOR, f"killed after {took:.1f} s, not 2 ({name})")


vt.test("SIGTERM: a guest that computes on is killed after the timeout: 19")(
    lambda: _ignores(4, "computes"))
vt.test("SIGTERM: a guest that sleeps on is killed after the timeout: 19")(
    lambda: _ignores(5, "sleeps"))


@vt.test("a second SIGTERM, and SIGINT after SIGHUP, kill at once: 19")
def _():
    for first, second in ((signal.SIGTERM, signal.SIGTERM), (signal.SIGHUP, signal.SIGINT)):
        g = guest("end", "--shutdown-timeout", 20, cmdline="end=4")
        g.wait_for("ready")
        g.proc.send_signal(first)
        time.sleep(0.3)
        g.expect(g.proc.poll() is None, "ended by the first signal")
        g.proc.send_signal(second)
        g.wait(KILLED, seconds=4)


@vt.test("32 CPUs, most of them waiting for SIPI, are stopped too")
def _():
    g = guest("end", "--shutdown-timeout", 1, cpus=32, cmdline="end=4")
    g.wait_for("ready")
    g.terminate()
    g.wait(KILLED, seconds=8)


@vt.test("kill -9 leaves nothing behind")
def _():
    path = disk()
    g = guest("end", cpus=4, disks=[path + ",io=uring"], cmdline="end=4")
    g.wait_for("ready")
    before = set(os.listdir(vt.tmp()))
    tids = [int(t["tid"]) for t in g.threads().values()]
    g.proc.kill()
    g.wait(-signal.SIGKILL)
    vt.until(lambda: not any(os.path.exists(f"/proc/{t}") for t in tids), "threads are gone")
    vt.same(set(os.listdir(vt.tmp())), before, "files")
    fd = os.open(path, os.O_RDWR)
    lock = vt.until(lambda: _lock(fd), "the disk's lock is free")
    vt.check(lock, "lock")
    guest("reset", disks=[path]).passed()


def _lock(fd):
    try:
        fcntl.lockf(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        fcntl.lockf(fd, fcntl.LOCK_UN)
        return True
    except OSError:
        return False


@vt.test("a disk that another VM writes is refused with a reason: 1")
def _():
    path = disk()
    g = guest("end", disks=[path], cmdline="end=5")
    g.wait_for("ready")
    second = guest("end", disks=[path], cmdline="end=7").wait(1)
    second.expect(path in second.err() and "in use" in second.err(), "no reason")


@vt.test("an unknown end of a payload is a failure that the tests see")
def _():
    g = guest("end", cmdline="end=8").wait(0)
    try:
        g.passed()
    except AssertionError:
        return
    vt.check(False, "a payload that says FAIL counts as passed")
