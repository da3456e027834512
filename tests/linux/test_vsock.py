# SPDX-License-Identifier: Apache-2.0
"""vsock between Linux guests and programs of the host."""
import os
import re
import selectors
import socket
import time

import vt
from linux import Linux, root_disk

CID = 3
PERIOD = 65521
_ONE = bytes(((j * 2654435761 & 0xffffffff) >> 13) & 0xff for j in range(PERIOD))
PATTERN = _ONE * 3  # see images/root/vsock.c
CHUNK = 65520


def pattern(at, length):
    at %= PERIOD
    return memoryview(PATTERN)[at:at + length]


def path():
    return os.path.join(vt.tmp(), "v.sock")


def start(kernel, script, **kw):
    return Linux(kernel, script, root_disk(), "--vsock", f"{path()},cid={CID}", cpus=2, **kw)


def listen(port, backlog=128):
    s = socket.socket(socket.AF_UNIX)
    if os.path.exists(f"{path()}_{port}"):
        os.unlink(f"{path()}_{port}")
    s.bind(f"{path()}_{port}")
    s.listen(backlog)
    return s


def connect(port):
    """A connection to a port of the guest, after its OK. A slow guest may need several tries."""
    for _ in range(int(1 + vt.FACTOR)):
        s = socket.socket(socket.AF_UNIX)
        s.settimeout(20 * vt.FACTOR)
        s.connect(path())
        s.sendall(b"CONNECT %d\n" % port)
        line = b""
        while not line.endswith(b"\n") and (byte := s.recv(1)):
            line += byte
        if line:
            vt.check(re.fullmatch(rb"OK \d+\n", line), f"port {port}: {line!r}")
            return s
    raise AssertionError(f"port {port}: closed instead of OK")


def end_of(s, seconds=1.0):
    """Seconds until the other side has closed; what it sent before is dropped."""
    started = time.monotonic()
    s.settimeout(seconds * vt.FACTOR)
    try:
        while s.recv(65536):
            pass
    except ConnectionResetError:
        pass
    return time.monotonic() - started


def resident(g):
    """KiB of the monitor that are not the guest's memory, which is its largest mapping."""
    with open(f"/proc/{g.pid}/smaps", encoding="utf-8", errors="replace") as f:
        sizes = re.findall(r"^Size: +(\d+) kB\n(?:.*\n)*?Rss: +(\d+) kB", f.read(), re.M)
    largest = max(range(len(sizes)), key=lambda i: int(sizes[i][0]))
    return sum(int(rss) for i, (_, rss) in enumerate(sizes) if i != largest)


class Streams:
    """Both ends of many connections at once, each sending the pattern and checking what comes."""

    def __init__(self):
        self.sel, self.open, self.bytes_in = selectors.DefaultSelector(), 0, 0

    def add(self, s, echo=False, to_send=0):
        s.setblocking(False)
        state = {"echo": echo, "left": to_send, "sent": 0, "got": 0, "kept": b""}
        self.sel.register(s, selectors.EVENT_READ | (selectors.EVENT_WRITE if to_send else 0),
                          state)
        self.open += 1

    def _write(self, s, st):
        data = st["kept"] if st["echo"] else pattern(st["sent"], min(st["left"], CHUNK))
        try:
            n = s.send(data)
        except BlockingIOError:
            return
        if st["echo"]:
            st["kept"] = st["kept"][n:]
        else:
            st["sent"] += n
            st["left"] -= n
            if st["left"] == 0:
                s.shutdown(socket.SHUT_WR)
        if not st["kept"] and not st["left"]:
            self.sel.modify(s, selectors.EVENT_READ, st)

    def _read(self, s, st):
        try:
            data = s.recv(CHUNK)
        except BlockingIOError:
            return
        if not data:
            vt.check(st["echo"] or st["got"] == st["sent"],
                     f"{st['sent']} bytes went out, {st['got']} came back")
            self.sel.unregister(s)
            s.close()
            self.open -= 1
            return
        self.bytes_in += len(data)
        if st["echo"]:
            st["kept"] = data
            self.sel.modify(s, selectors.EVENT_WRITE, st)
            self._write(s, st)
        else:
            vt.check(data == pattern(st["got"], len(data)), f"wrong bytes behind {st['got']}")
        st["got"] += len(data)

    def run(self, listener=None, expected=0, seconds=600):
        """Until all have ended; takes `expected` connections from the listener, and echoes."""
        end = time.monotonic() + seconds
        if listener:
            listener.setblocking(False)
            self.sel.register(listener, selectors.EVENT_READ, None)
        while self.open or expected:
            vt.check(time.monotonic() < end, f"{self.open} connections are still open")
            for key, events in self.sel.select(1):
                if key.data is None:
                    self.add(listener.accept()[0], echo=True)
                    expected -= 1
                elif events & selectors.EVENT_WRITE:
                    self._write(key.fileobj, key.data)
                else:
                    self._read(key.fileobj, key.data)
        if listener:
            self.sel.unregister(listener)


# The guest's script waits here until release().
WAIT = "until volt-vsock connect 2 5999 hold 1 >/dev/null 2>&1; do sleep 0.1; done\n"


def release():
    with listen(5999) as listener:
        listener.settimeout(20 * vt.FACTOR)
        listener.accept()[0].close()


TOTAL = int(os.environ.get("VOLT_VSOCK_MIB", "64")) << 20  # each way
COUNT = 100


def _streams(kernel):
    """COUNT connections at once, from each side, TOTAL bytes both ways."""
    each = TOTAL // COUNT
    with listen(5000) as listener:
        g = start(kernel, f"volt-vsock listen 4000 echo & pid=$!\n"
                  f"volt-vsock connect 2 5000 check {COUNT} {each} || exit 1\n{WAIT}kill $pid\n")
        streams = Streams()
        streams.run(listener, COUNT)
        vt.same(streams.bytes_in, COUNT * each, "bytes from the guest")
    g.wait_for(" ms\n")
    said = re.search(r"check: .*", g.out())[0]
    g.expect(f"{COUNT} good, 0 bad, {COUNT * each} bytes out, {COUNT * each} bytes in" in said,
             "the guest found wrong bytes")
    print("guest to host, then back:", said)
    started = time.monotonic()
    streams = Streams()
    for _ in range(COUNT):
        streams.add(connect(4000), to_send=each)
    streams.run()
    vt.same(streams.bytes_in, COUNT * each, "bytes from the guest")
    print(f"host to guest, then back: {COUNT * each} bytes in {time.monotonic() - started:.1f} s")
    release()
    g.finished()


for KERNEL in ("tuned-pvh", "cloud-6.1", "cloud-6.12"):
    vt.test(f"{COUNT} connections at once with {KERNEL}, all bytes right", timeout=120 + (TOTAL >> 20))(
        lambda kernel=KERNEL: _streams(kernel))


@vt.test("killing either side closes the other within a second", timeout=120)
def _():
    with listen(5000) as listener:
        g = start("tuned-pvh", "volt-vsock listen 4000 hold & server=$!\n"
                  "volt-vsock connect 2 5000 hold 1 & client=$!\n" + WAIT +
                  "kill -9 $server\n"
                  "wait $client; echo client=$?\n" + WAIT)
        first = listener.accept()[0]
        g.wait_for("listening on 4000")
        second = connect(4000)
        # The host's side goes: the guest's program ends. It has data that nobody reads.
        first.sendall(b"x" * 1000)
        started = time.monotonic()
        first.close()
        g.wait_for("hold: 1 ", 5)
        took = time.monotonic() - started
        print(f"the guest saw the end after {took:.2f} s")
        g.expect(took < 1 * vt.FACTOR, f"that took {took:.2f} s")
        # The guest's side is killed.
        release()
        took = end_of(second)
        print(f"the host saw the end after {took:.2f} s")
        g.expect(took < 1 * vt.FACTOR, f"that took {took:.2f} s")
        g.wait_for("client=0")
        release()
        g.finished()


@vt.test("memory stays bounded while readers on either side stall", timeout=240)
def _():
    count, each = 50, 1 << 20
    with listen(5000) as listener:
        g = start("tuned-pvh", "volt-vsock listen 4000 hold & pid=$!\n" + WAIT +
                  f"volt-vsock connect 2 5000 send {count} {each} || exit 1\n{WAIT}kill $pid\n")
        g.wait_for("listening on 4000")
        before = resident(g)
        # Nobody in the guest reads: the host's programs are held up.
        stuck = [connect(4000) for _ in range(count)]
        for s in stuck:
            s.setblocking(False)
            try:
                while True:
                    s.send(b"x" * CHUNK)
            except BlockingIOError:
                pass
        release()
        # Nobody on the host reads: the guest's are.
        held = [listener.accept()[0] for _ in range(count)]
        last, same = 0, 0
        while same < 20:  # until the monitor has stopped taking
            now = resident(g)
            same, last = same + 1 if now == last else 0, now
            time.sleep(0.05)
        grown = last - before
        print(f"{grown} KiB more with {2 * count} stalled connections")
        g.expect(grown < 64 * count + 2048, f"the monitor grew by {grown} KiB")
        for s in stuck:
            s.close()
        # And nothing was lost.
        for i, s in enumerate(held):
            got = 0
            while data := s.recv(CHUNK):
                at = got + 4099 * i
                g.expect(data == pattern(at, len(data)), f"connection {i}: wrong bytes at {got}")
                got += len(data)
            vt.same(got, each, f"bytes of connection {i}")
            s.close()
        g.wait_for(f"send: {count} good, 0 bad", 30)
        release()
        g.finished()


@vt.test("a reset of the driver and a reboot close all connections", timeout=240)
def _():
    g = start("tuned-pvh", "volt-vsock listen 4000 hold &\n" + WAIT +
              "drv=/sys/bus/virtio/drivers/vmw_vsock_virtio_transport\n"
              "dev=$(basename $drv/virtio*)\n"
              "echo $dev >$drv/unbind\nsleep 0.3\necho $dev >$drv/bind\n"
              "volt-vsock listen 4001 hold &\n" + WAIT)
    g.wait_for("listening on 4000")
    first = connect(4000)
    release()
    print(f"unbound: closed after {end_of(first, 5):.2f} s")
    g.wait_for("listening on 4001")
    second = connect(4001)
    release()
    print(f"ended: closed after {end_of(second, 20):.2f} s")
    g.finished()


@vt.test("no listener on either side is an error at once", timeout=120)
def _():
    g = start("tuned-pvh", "volt-vsock connect 2 7 hold 1; echo refused=$?\n" + WAIT)
    g.wait_for("refused=1")
    s = socket.socket(socket.AF_UNIX)
    s.connect(path())
    s.sendall(b"CONNECT 7\n")
    s.settimeout(1 * vt.FACTOR)
    vt.same(s.recv(100), b"", "answer for a port without a listener")
    release()
    g.finished()
