#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""Runs the tests of a folder, one process each, and prints ok and not ok lines.

    tests/lib/vt.py FOLDER [--filter GLOB]... [--list | --ask]

With --ask, the names of the tests to run come on standard input, each after the last one's result.

A test is a function with @vt.test in a file FOLDER/test_STEM.py; its name is STEM/TITLE. It fails
by raising, is skipped by raising vt.Skip(reason). It runs in its own process group, which is killed
when the test ends or its time is over, so that nothing is left behind. VOLT_TIMEOUT_FACTOR
stretches times on slow machines.
"""
import argparse
import fnmatch
import glob
import importlib
import math
import os
import select
import shutil
import signal
import sys
import tempfile
import time
import traceback

import labfault

TREE = os.path.dirname(os.path.dirname(os.path.dirname(os.path.realpath(__file__))))
FACTOR = float(os.environ.get("VOLT_TIMEOUT_FACTOR", "1"))
SKIPPED, LAB_FAULT = 77, 78
LAB_TRIES = 3       # of a test whose guest the lab lost, see labfault.py
LOOK_SECONDS = 60   # from one look at the lab to the next; and the longest silence

# What can be said about a test that takes too long: functions that return text.
witnesses = []
# Functions that raise LabFault if it is not the test's fault that it takes so long.
lab_checks = []

_tests = []
_stem = ""


class Skip(Exception):
    """The test cannot be run here, for the reason given."""


class LabFault(Exception):
    """The lab, not the guest or the monitor, has failed: the test is to be run again."""


def test(title, timeout=30):
    def add(function):
        _tests.append((f"{_stem}/{title}", timeout, function))
        return function
    return add


def check(condition, message):
    if not condition:
        raise AssertionError(message)


def same(got, want, what="value"):
    check(got == want, f"{what}: got {got!r}, wanted {want!r}")


def until(condition, what, seconds=10.0):
    """Waits for condition() to be true and returns its value."""
    end = time.monotonic() + seconds * FACTOR
    while True:
        value = condition()
        if value:
            return value
        check(time.monotonic() < end, f"not within {seconds * FACTOR:g} s: {what}")
        time.sleep(0.02)


def tmp():
    """The directory of this test; removed with it."""
    return os.environ["VT_TMP"]


def shared():
    """A directory of all tests of this run, for what is dear to make; removed at the end."""
    return os.environ["VT_SHARED"]


def _load(folder):
    global _stem
    sys.dont_write_bytecode = True
    sys.path.insert(0, os.path.join(TREE, "tests", "lib"))
    sys.path.insert(0, folder)
    sys.modules["vt"] = sys.modules[__name__]
    for path in sorted(glob.glob(os.path.join(folder, "test_*.py"))):
        _stem = os.path.basename(path)[5:-3]
        importlib.import_module(f"test_{_stem}")
    return _tests


def _look(ends):
    """Says nothing before the test's time is over, unless the lab has failed."""
    for look in lab_checks:
        look()
    if time.monotonic() < ends:
        return
    for witness in witnesses:
        print(witness())
    raise TimeoutError("the test's time is over")


def _child(function, timeout, log, directory):
    os.setpgid(0, 0)
    nothing = os.open("/dev/null", os.O_RDONLY)  # the names of tests that --ask reads are not for a test
    os.dup2(nothing, 0)
    os.close(nothing)
    os.dup2(log.fileno(), 1)
    os.dup2(log.fileno(), 2)
    os.environ["VT_TMP"] = directory
    os.chdir(directory)
    signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell's "&" ignores it, for children too
    ends = time.monotonic() + timeout
    signal.signal(signal.SIGALRM, lambda *_: _look(ends))
    # Every so often, because a guest that the lab has lost would else take all of the time; the last
    # time just after the end.
    every = timeout / math.ceil(timeout / LOOK_SECONDS)
    signal.setitimer(signal.ITIMER_REAL, every + 0.01, every)
    try:
        function()
        status = 0
    except Skip as e:
        print(e)
        status = SKIPPED
    except LabFault as e:
        print(e)
        status = LAB_FAULT
    except BaseException as e:  # pylint: disable=broad-except
        print(f"{type(e).__name__}: {str(e).splitlines()[0] if str(e) else ''}")  # what is read first
        traceback.print_exc(file=sys.stdout)
        status = 1
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(status)


def _run(function, timeout):
    """(status, output); status None: killed because the time was over."""
    directory = tempfile.mkdtemp(prefix="volt-test-")
    kernel = labfault.KernelLog()
    with tempfile.TemporaryFile() as log:
        pid = os.fork()
        if pid == 0:
            _child(function, timeout * FACTOR, log, directory)
        pidfd = os.pidfd_open(pid)
        ended, ends = [], time.monotonic() + timeout * FACTOR + 15
        while not ended and (left := ends - time.monotonic()) > 0:
            ended = select.select([pidfd], [], [], min(left, LOOK_SECONDS))[0]
            if not ended:
                print("#", flush=True)  # whoever reads this sees that the lab lives
        os.close(pidfd)
        try:
            os.killpg(pid, signal.SIGKILL)
        except ProcessLookupError:
            if not ended:  # not yet its own group: it has hardly begun
                os.kill(pid, signal.SIGKILL)
        status = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
        log.seek(0)
        output = log.read().decode(errors="replace")
    shutil.rmtree(directory, ignore_errors=True)
    status = status if ended else None
    if status not in (0, SKIPPED):
        if status != LAB_FAULT and kernel.stuck():
            status, output = LAB_FAULT, f"the lab's own kernel says: {kernel.stuck()}\n{output}"
        if kernel.read():
            output += "\nthe lab's kernel meanwhile:\n" + "\n".join(kernel.read()[-12:])
    kernel.close()
    return status, output


def _report(number, name, status, output, timeout, took):
    if status == 0:
        if took > timeout * FACTOR / 3:
            print(f"# {name}: {took:.0f} s of {timeout * FACTOR:g} s")
        print(f"ok {number} - {name}", flush=True)
        return
    if status == SKIPPED:
        print(f"ok {number} - {name} # SKIP {output.strip()}", flush=True)
        return
    if status is None:
        output += f"\nkilled: not done within {timeout * FACTOR:g} s"
    elif status < 0:
        output += f"\nended by signal {-status}"
    print(f"not ok {number} - {name}")
    for line in output.splitlines()[-120:]:
        print(f"# {line}")
    sys.stdout.flush()


def _asked_for(tests):
    by_name = {t[0]: t for t in tests}
    for line in iter(sys.stdin.readline, ""):
        yield by_name[line.rstrip("\n")]


def main():
    p = argparse.ArgumentParser()
    p.add_argument("folder")
    p.add_argument("--filter", action="append", default=[])
    p.add_argument("--list", action="store_true")
    p.add_argument("--ask", action="store_true")
    args = p.parse_args()
    tests = [t for t in _load(args.folder)
             if not args.filter or any(fnmatch.fnmatch(t[0], f) for f in args.filter)]
    if args.list:
        for name, _, _ in tests:
            print(name)
        return 0
    with tempfile.TemporaryDirectory(prefix="volt-tests-") as directory:
        os.environ["VT_SHARED"] = directory
        return 1 if _run_all(_asked_for(tests) if args.ask else tests) else 0


def _run_all(tests):
    failed = 0
    for number, (name, timeout, function) in enumerate(tests, 1):
        for tries in range(1, LAB_TRIES + 1):
            started = time.monotonic()
            status, output = _run(function, timeout)
            if status != LAB_FAULT or tries == LAB_TRIES:
                break
            print(f"# LAB FAULT in {name}: {output.splitlines()[0]}; once more", flush=True)
        _report(number, name, status, output, timeout, time.monotonic() - started)
        failed += status not in (0, SKIPPED)
    return failed


if __name__ == "__main__":
    sys.exit(main())
