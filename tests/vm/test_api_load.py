# SPDX-License-Identifier: Apache-2.0
"""The API under load while a guest runs: every answer is right, nothing leaks, and clients that are
slow, half there, mad or gone cost the others nothing."""
import contextlib
import json
import os
import random
import signal
import socket
import statistics
import threading
import time

import api
import persona
import vt
from vmm import disk, payload

CONNECTIONS, REQUESTS, BATCH = 10, 1000, 25
LIMITER = {"ops": {"size": 1000000, "refill_time": 100}}
# (method, path, body, status, what GET's answer has)
CALLS = (("GET", "/", None, 200, ("state", "Running")),
         ("PATCH", "/drives/d", {"drive_id": "d", "rate_limiter": LIMITER}, 204, None),
         ("GET", "/machine-config", None, 200, ("mem_size_mib", 64)),
         ("PATCH", "/vm", {"state": "Resumed"}, 204, None),
         ("GET", "/version", None, 200, ("firecracker_version", "1.17.0")),
         ("PATCH", "/drives/none", {"drive_id": "none"}, 400, None),
         ("GET", "/vm/config", None, 200, ("pmem", [])))


def text(call):
    method, path, body = call[:3]
    data = json.dumps(body).encode() if body is not None else b""
    head = f"{method} {path} HTTP/1.1\r\nHost: x\r\n"
    if data:
        head += f"Content-Length: {len(data)}\r\n"
    return head.encode() + b"\r\n" + data


TEXTS = [text(c) for c in CALLS]


def check(answer, call, what):
    vt.same(answer.status, call[3], f"{what}: {call[:2]}: {answer.value}")
    if call[4]:
        key, value = call[4]
        vt.same(answer.value.get(key, []), value, f"{what}: {call[1]}: {key}")


def single(client, start, n):
    """n requests, each when the last one is answered; returns how long each took."""
    took = []
    for i in range(start, start + n):
        at = time.monotonic()
        client.send(TEXTS[i % len(CALLS)])
        answer = client.receive()
        took.append(time.monotonic() - at)
        check(answer, CALLS[i % len(CALLS)], f"request {i}")
    return took


def pipelined(client, start, n):
    """The same in batches; returns how long each batch took."""
    took = []
    for first in range(start, start + n, BATCH):
        calls = [i % len(CALLS) for i in range(first, first + BATCH)]
        at = time.monotonic()
        client.send(b"".join(TEXTS[c] for c in calls))
        for i, c in enumerate(calls):
            check(client.receive(), CALLS[c], f"request {first + i} of a batch")
        took.append(time.monotonic() - at)
    return took


class Target:
    """A guest that runs and answers Ctrl-Alt-Del, with its API."""

    def __init__(self):
        self.sock = os.path.join(vt.tmp(), "api")
        self.fc = persona.Firecracker("--api-sock", self.sock, "--level", "error",
                                      "--log-path", os.path.join(vt.tmp(), "log"))
        with api.Client(self.sock) as client:
            for path, body in (
                    ("/machine-config", {"vcpu_count": 1, "mem_size_mib": 64}),
                    ("/boot-source", {"kernel_image_path": payload("end"), "boot_args": "root=none end=3"}),
                    ("/drives/d", {"drive_id": "d", "is_root_device": False, "path_on_host": disk()}),
                    ("/actions", {"action_type": "InstanceStart"})):
                vt.same(client.put(path, body)[::2], (204, None), path)
        self.fc.wait_for("ready")

    def held(self):
        """(resident KiB, number of descriptors)."""
        with open(f"/proc/{self.fc.pid}/status", encoding="ascii") as f:
            rss = next(int(line.split()[1]) for line in f if line.startswith("VmRSS"))
        return rss, len(self.fc.fds())

    def settled(self, n_fds):
        """Waits until the connections of the past are gone."""
        vt.until(lambda: self.held()[1] <= n_fds, f"at most {n_fds} descriptors")
        return self.held()

    def end(self):
        """The guest is awake: it answers."""
        with api.Client(self.sock) as client:
            vt.same(client.put("/actions", {"action_type": "SendCtrlAltDel"}).status, 204)
        self.fc.wait(0)


def crowd(target, n):
    """All connections at once, every second one pipelined; the latencies of the others."""
    took, faults = [], []

    def work(index):
        try:
            with api.Client(target.sock, 60) as client:
                if index % 2:
                    pipelined(client, index, n)
                else:
                    took.extend(single(client, index, n))
        except BaseException as e:  # pylint: disable=broad-except
            faults.append(f"connection {index}: {type(e).__name__}: {e}")

    threads = [threading.Thread(target=work, args=(i,)) for i in range(CONNECTIONS)]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    vt.check(not faults, "\n".join(faults))
    return took


def show(title, took):
    took = sorted(took)
    print(f"{title}: {len(took)} requests, median {statistics.median(took) * 1e6:.0f} us, "
          f"p99 {took[len(took) * 99 // 100] * 1e6:.0f} us")


@vt.test("10 connections of 1000 requests each: all answered right, nothing leaks", timeout=120)
def _():
    t = Target()
    idle = t.held()[1]
    crowd(t, 10 * BATCH)  # what is allocated once and kept
    rss, fds = t.settled(idle)
    show("crowd", crowd(t, REQUESTS))
    after, fds_after = t.settled(fds)
    print(f"resident: {rss} KiB, then {after} KiB; descriptors: {fds}, then {fds_after}")
    vt.same(fds_after, fds, "descriptors")
    vt.check(after - rss < 256, f"{after - rss} KiB more after {CONNECTIONS * REQUESTS} requests")
    t.end()


def connect(path):
    s = socket.socket(socket.AF_UNIX)
    s.connect(path)
    return s


def misbehave(path):
    """For ever: two slow clients, a half request, one that does not read, mad ones, vanishing ones."""
    rng = random.Random(1)
    slow = [connect(path) for _ in range(2)]
    half, deaf = connect(path), connect(path)
    half.sendall(b"PUT /actions HTTP/1.1\r\nContent-Length: 9\r\n\r\n{")
    deaf.setblocking(False)
    at = 0
    while True:
        for s in slow:
            s.sendall(TEXTS[3][at % len(TEXTS[3]):][:1])
        with contextlib.suppress(BlockingIOError):
            deaf.send(TEXTS[6] * 20)
        with connect(path) as mad, contextlib.suppress(OSError):
            mad.sendall(bytes(rng.randrange(256) for _ in range(300)) + b"\r\n\r\n")
        with connect(path) as gone, contextlib.suppress(OSError):
            gone.sendall(TEXTS[6] * 5)
        at += 1
        time.sleep(0.01)


@vt.test("slow, half-open, deaf, mad and vanished clients delay neither others nor the guest", timeout=120)
def _():
    t = Target()
    idle = t.held()[1]
    with api.Client(t.sock) as client:
        single(client, 0, 200)
        before = single(client, 0, 700)
        bad = os.fork()
        if bad == 0:
            try:
                misbehave(t.sock)
            except BaseException as e:  # pylint: disable=broad-except
                print(f"misbehave: {type(e).__name__}: {e}", flush=True)
            os._exit(1)
        vt.until(lambda: t.held()[1] >= idle + 5, "the others are connected")
        among = single(client, 0, 700)
        vt.same(os.waitpid(bad, os.WNOHANG), (0, 0), "the misbehaving process has ended")
        os.kill(bad, signal.SIGKILL)
        os.waitpid(bad, 0)
    show("alone", before)
    show("among them", among)
    # Far above what noise makes of a median, far below a wait for somebody.
    vt.check(statistics.median(among) < 10 * statistics.median(before) + 0.002,
             f"medians: {statistics.median(before):.6f} s alone, {statistics.median(among):.6f} s among them")
    rss, fds = t.settled(idle)
    print(f"resident: {rss} KiB, descriptors: {fds}")
    t.end()


@vt.test("the eleventh connection is told so, and the ten live on")
def _():
    t = Target()
    with contextlib.ExitStack() as stack:
        clients = [stack.enter_context(api.Client(t.sock)) for _ in range(CONNECTIONS)]
        for c in clients:
            single(c, 0, 1)
        with api.Client(t.sock) as extra:
            answer = extra.receive()
            vt.same((answer.status, answer.value), (503, {"error": "Too many open connections"}))
            vt.check(extra.ended(), "it stays open")
        for c in clients:
            single(c, 0, len(CALLS))
    t.end()
