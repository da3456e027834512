# SPDX-License-Identifier: Apache-2.0
"""How long a monitor takes from its start to the first answer of its API, and what CPU time, on the
machine itself: clients wait for that before everything else. And how fast it answers many."""
import contextlib
import json
import os
import selectors
import signal
import socket
import tempfile
import time

import contestant

SECONDS = 10
REQUEST = b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n"
CONNECTIONS, REQUESTS = 10, 1000


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


def _whole(answer):
    """True if this is an answer to its end, and a good one."""
    head, found, body = answer.partition(b"\r\n\r\n")
    if not found:
        return False
    if b" 200 " not in head[:20]:
        raise Failed(f"it answered {head!r}")
    length = [line.split(b":")[1] for line in head.lower().split(b"\r\n")
              if line.startswith(b"content-length:")]
    return len(body) >= int(length[0] if length else 0)


def _load(path):
    """The latency in ns of each of REQUESTS on CONNECTIONS at a time, each sent when the one before is
    answered. One thread: with more, Python's own waiting would be measured."""
    took, live = [], CONNECTIONS
    with selectors.DefaultSelector() as sel, contextlib.ExitStack() as socks:
        def send(sock, left):
            sel.modify(sock, selectors.EVENT_READ, [left, time.monotonic_ns(), b""])
            sock.sendall(REQUEST)

        for _ in range(CONNECTIONS):
            sock = socks.enter_context(socket.socket(socket.AF_UNIX))
            sock.connect(path)
            sel.register(sock, selectors.EVENT_READ)
            send(sock, REQUESTS)
        while live:
            events = sel.select(SECONDS)
            if not events:
                raise Failed(f"no answer within {SECONDS} s")
            for key, _ in events:
                left, start, before = key.data
                got = key.fileobj.recv(4096)
                if not got:
                    raise Failed("it closed a connection")
                key.data[2] = before + got
                if not _whole(key.data[2]):
                    continue
                took.append(time.monotonic_ns() - start)
                if left > 1:
                    send(key.fileobj, left - 1)
                else:
                    sel.unregister(key.fileobj)
                    live -= 1
    return took


def once(argv, path, load=False):
    """(wall, CPU, the latencies of the load) in ns."""
    took = []
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
            if load:
                sock.close()
                took = _load(path)
        finally:
            os.kill(pid, signal.SIGKILL)
            os.waitpid(pid, 0)
            os.close(null)
    return wall, cpu, took


def run(setup, raw):
    """The contestants take turns."""
    who = [c for c in setup["contestants"] if c.get("api")]
    with tempfile.TemporaryDirectory() as directory, open(raw, "a", encoding="utf-8") as out:
        for number in range(setup["api_runs"] + 1 if setup["api_runs"] else 0):
            for c in who:
                path = os.path.join(directory, "api")
                with contextlib.suppress(FileNotFoundError):
                    os.unlink(path)
                # The first one is the warm-up, and shows what comes after the first answer.
                wall, cpu, took = once(contestant.command(c, {"api": path}, "api"), path, number == 0)
                if took:
                    out.write(json.dumps({"type": "api-load", "load": os.getloadavg()[0], "took_ns": took,
                                          "contestant": c["name"]}, sort_keys=True) + "\n")
                if number:
                    out.write(json.dumps({"type": "api", "load": os.getloadavg()[0], "number": number,
                                          "contestant": c["name"], "wall_ns": wall, "cpu_ns": cpu},
                                         sort_keys=True) + "\n")
    print(f"API: {setup['api_runs']} starts each", flush=True)
