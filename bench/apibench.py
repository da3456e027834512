# SPDX-License-Identifier: Apache-2.0
"""How long a monitor takes from its start to the first answer of its API, and what CPU time, on the
machine itself: clients wait for that before everything else."""
import contextlib
import json
import os
import signal
import socket
import tempfile
import time

import contestant

SECONDS = 10
REQUEST = b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n"


class Failed(Exception):
    """There was no answer."""


def _answer(sock, path, end_ns):
    """Tries until it is answered; without a pause, which would be measured too."""
    while True:
        try:
            sock.connect(path)
            break
        except (FileNotFoundError, ConnectionRefusedError):
            if time.monotonic_ns() > end_ns:
                raise Failed(f"nobody listens within {SECONDS} s") from None
    sock.settimeout(SECONDS)
    sock.sendall(REQUEST)
    answer = sock.recv(4096)
    if b" 200 " not in answer:
        raise Failed(f"it answered {answer!r}")


def once(argv, path):
    """(wall, CPU) in ns."""
    null = os.open(os.devnull, os.O_RDWR)
    actions = [(os.POSIX_SPAWN_DUP2, null, fd) for fd in (0, 1, 2)]
    with socket.socket(socket.AF_UNIX) as sock:
        start = time.monotonic_ns()
        pid = os.posix_spawnp(argv[0], argv, os.environ, file_actions=actions)
        try:
            _answer(sock, path, start + SECONDS * 1_000_000_000)
            wall = time.monotonic_ns() - start
            with open(f"/proc/{pid}/schedstat", encoding="ascii") as f:
                cpu = int(f.read().split()[0])
        finally:
            os.kill(pid, signal.SIGKILL)
            os.waitpid(pid, 0)
            os.close(null)
    return wall, cpu


def run(setup, raw):
    """The contestants take turns."""
    who = [c for c in setup["contestants"] if c.get("api")]
    with tempfile.TemporaryDirectory() as directory, open(raw, "a", encoding="utf-8") as out:
        for number in range(setup["api_runs"] + 1 if setup["api_runs"] else 0):
            for c in who:
                path = os.path.join(directory, "api")
                with contextlib.suppress(FileNotFoundError):
                    os.unlink(path)
                wall, cpu = once(contestant.command(c, {"api": path}, "api"), path)
                if number:  # the first one is the warm-up
                    out.write(json.dumps({"type": "api", "load": os.getloadavg()[0], "number": number,
                                          "contestant": c["name"], "wall_ns": wall, "cpu_ns": cpu},
                                         sort_keys=True) + "\n")
    print(f"API: {setup['api_runs']} starts each", flush=True)
