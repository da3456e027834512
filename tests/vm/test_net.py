# SPDX-License-Identifier: Apache-2.0
"""virtio-net and vsock against drivers that are correct and drivers that lie, on real taps in
network namespaces: what arrives outside, what the counters say, that the monitor and its other
devices live on."""
import contextlib
import json
import os
import re
import socket
import struct
import threading
import time

import vt
from netns import Namespace, own_dev
from vmm import disk, guest

ETHERTYPE = 0x88b5
MAC = "06:00:0a:07:00:02"


def _host(queues=""):
    return Namespace(f"tuntap add dev t0 mode tap vnet_hdr{queues}",
                     "address add 10.7.0.1/24 dev t0", "link set t0 up")


def _guest(name, host, net, *args, metrics=None, **kw):
    more = ["--net", f"{net},id=net0,mac={MAC}"] if net else []
    if metrics:
        more += ["--metrics-path", metrics]
    return guest(name, *more, *args, netns=host, **kw)


def _metrics(path):
    """{counter: value} of net0 or vsock, from the last line of the file."""
    with open(path, encoding="ascii") as f:
        last = json.loads(f.read().splitlines()[-1])
    return {k: v for group, members in last.items() if isinstance(members, dict)
            and ("net0" in group or "vsock" in group) for k, v in members.items()}


def _counts(g, metrics):
    """The device counted what the guest says that it did."""
    got = _metrics(metrics)
    wanted = re.findall(r"^count (\w+) (\d+)$", g.out(), re.M)
    g.expect(wanted, "the guest counted nothing")
    for name, value in wanted:
        g.expect(got.get(name) == int(value), f"{name} is {got.get(name)}, wanted {value}: {got}")
    return got


def _ping_until_end(g, host, seconds=60):
    """Pings the guest until it has had enough; all the answers must be right."""
    answers, end = 0, time.monotonic() + seconds * vt.FACTOR
    while g.proc.poll() is None:
        g.expect(time.monotonic() < end, "the guest does not end")
        text = host.run("busybox", "ping", "-c", "1", "-W", "1", "10.7.0.2", status=None)
        answers += " 0% packet loss" in text
    g.passed()
    g.expect(answers >= 5, f"only {answers} pings were answered")


def _net(net, *args, cmdline="", queues=""):
    host = _host(queues)
    _ping_until_end(_guest("net", host, net, *args, cmdline=f"expect.mac0=6 {cmdline}"), host)
    vt.check("t0" in host.links(), "the tap that was ours is gone")


vt.test("net: ARP and pings both ways, through three resets", timeout=90)(lambda: _net("tap=t0"))
vt.test("net: an MTU that the guest is told", timeout=90)(
    lambda: _net("tap=t0,mtu=1400", cmdline="expect.mtu=1400"))
vt.test("net: two pairs of queues, one in use", timeout=90)(
    lambda: _net("tap=t0,queues=2", queues=" multi_queue"))


@vt.test("net: a tap by descriptor", timeout=90)
def _():
    host = _host()
    fd = host.tap("t0")
    g = _guest("net", host, f"fd={fd}", pass_fds=(fd,))
    os.close(fd)
    _ping_until_end(g, host)


@vt.test("net: without /dev/vhost-net vhost=on is a line in the log, and frames pass all the same",
         timeout=90)
def _():
    own_dev()
    host = _host()
    g = _guest("net", host, "tap=t0,vhost=on")
    _ping_until_end(g, host)
    g.expect("/dev/vhost-net does not exist" in g.err() and "through volt-vmm instead" in g.err(),
             "the log does not say so")


@vt.test("net: no rights at all: a tap of ours that is up is used, and one that is down is so for the"
         " guest too", timeout=90)
def _():
    own_dev()
    os.chmod(vt.tmp(), 0o777)
    nobody = ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups"]
    host = Namespace("tuntap add dev t0 mode tap vnet_hdr user 65534",
                     "address add 10.7.0.1/24 dev t0", "link set t0 up")
    _ping_until_end(_guest("net", host, "tap=t0", wrap=nobody), host)
    host.ip("link set t0 down")
    g = _guest("net", host, "tap=t0", cmdline="link", wrap=nobody).passed()
    g.expect("link t0 is down, and so is the guest's" in g.err(), "the log does not say so")
    g.expect("link down\n" in g.out(), "the guest's link is up")


@vt.test("net: a tap that volt-vmm makes is gone with it", timeout=90)
def _():
    host = Namespace()
    g = _guest("net", host, "tap=t7")
    vt.until(lambda: "t7" in host.links() or g.proc.poll() is not None, "the tap")
    host.ip("address add 10.7.0.1/24 dev t7")
    vt.check("UP" in host.links()["t7"]["flags"], "it is not up")
    _ping_until_end(g, host)
    vt.check("t7" not in host.links(), "the tap is still there")


@vt.test("net: the guest sees the link go down and come back", timeout=90)
def _():
    host, metrics = _host(), os.path.join(vt.tmp(), "metrics")
    g = _guest("net", host, "tap=t0", metrics=metrics, cmdline="flap rounds=1")
    stop = threading.Event()
    pings = threading.Thread(target=_ping_on, args=(host, stop))
    pings.start()
    try:
        g.wait_for("link down?\n", 40)
        host.ip("link set t0 down")
        g.wait_for("link up?\n")
        host.ip("link set t0 up")
        g.passed(seconds=40)
    finally:
        stop.set()
        pings.join()
    g.expect(_metrics(metrics)["link_changes"] == 2, "not two link changes were counted")


def _ping_on(host, stop):
    while not stop.is_set():
        host.run("busybox", "ping", "-c", "1", "-W", "1", "10.7.0.2", status=None)


def _sniffer(host, dev="t0"):
    """A packet socket in the namespace that sees what comes from the guest."""
    made = []

    def make():
        made.append(socket.socket(socket.AF_PACKET, socket.SOCK_RAW | socket.SOCK_NONBLOCK,
                                  socket.htons(3)))

    host.within(make)
    made[0].setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4 << 20)
    host.within(lambda: made[0].bind((dev, 3)))
    return made[0]


def _pump(sock, stop, seen):
    """Frames for the guest all the time; keeps those from it."""
    frame = bytes.fromhex("ffffffffffff 020000000001") + struct.pack("!H", ETHERTYPE) + b"HOST" * 60
    while not stop.wait(0.02):
        with contextlib.suppress(BlockingIOError):  # nobody takes them for the moment
            sock.send(frame)
        while True:
            try:
                data, address = sock.recvfrom(70000)
            except BlockingIOError:
                break
            if address[2] != socket.PACKET_OUTGOING:
                seen.append(data)


@vt.test("net: a driver that lies in headers, chains, buffers and commands", timeout=200)
def _():
    host, metrics = _host(), os.path.join(vt.tmp(), "metrics")
    sock, stop, seen = _sniffer(host), threading.Event(), []
    pump = threading.Thread(target=_pump, args=(sock, stop, seen))
    pump.start()
    try:
        g = _guest("net-hostile", host, "tap=t0", metrics=metrics, disks=[disk()])
        g.passed(seconds=120)
    finally:
        stop.set()
        pump.join()
    got = _counts(g, metrics)
    g.expect(got["failures"] >= 15, f"only {got['failures']} times the device asked for a reset")
    words = {}
    for frame in seen:
        kind = frame[12:14], frame[14:18]
        words[kind] = words.get(kind, 0) + 1
    ours = {word: n for (kind, word), n in words.items() if kind == struct.pack("!H", ETHERTYPE)}
    # 25 lies with one good frame before and, if the device survived, one behind; and more.
    g.expect(ours.get(b"GOOD", 0) >= 50, f"only {ours.get(b'GOOD')} good frames: {words}")
    g.expect(ours.get(b"SPOO") == 1, f"the frame with a forged source did not arrive: {words}")
    g.expect(set(ours) <= {b"GOOD", b"SPOO", b"LIES"}, f"frames that may not leave: {words}")
    g.expect(set(kind for kind, _ in words) <= {struct.pack("!H", ETHERTYPE)},
             f"frames that the guest never sent: {words}")
    g.expect(len(g.err()) < 30000, f"{len(g.err())} bytes of log")


# ---- vsock ----

def _echo(listener):
    """Answers each connection with what comes from it."""
    def serve(c):
        with c, contextlib.suppress(ConnectionError):  # a lie ends its connection
            while data := c.recv(65536):
                c.sendall(data)

    while True:
        try:
            c = listener.accept()[0]
        except OSError:
            return
        threading.Thread(target=serve, args=(c,), daemon=True).start()


def _listen(path):
    s = socket.socket(socket.AF_UNIX)
    s.bind(path)
    s.listen(64)
    return s


@vt.test("vsock: a driver that lies about addresses, packets, credit and rings", timeout=120)
def _():
    path, metrics = os.path.join(vt.tmp(), "v.sock"), os.path.join(vt.tmp(), "metrics")
    listener, stalled = _listen(path + "_7"), _listen(path + "_9")  # nobody accepts the second
    threading.Thread(target=_echo, args=(listener,), daemon=True).start()
    g = guest("vsock-hostile", "--vsock", f"{path},cid=77", "--metrics-path", metrics,
              disks=[disk()], cmdline="expect.cid=77").passed(seconds=100)
    _counts(g, metrics)
    g.expect(len(g.err()) < 30000, f"{len(g.err())} bytes of log")
    vt.until(lambda: not os.path.exists(path), "the socket file is removed")
    stalled.close()
