# SPDX-License-Identifier: Apache-2.0
"""SIGKILL of volt-vmm under traffic: nothing of ours is left, what is the caller's is as it was, and
the next start works."""
import glob
import os
import time
from subprocess import DEVNULL

import networkd
import vt
from linux import Talker
from netback import (BACKENDS, NET_TOOL, PORT, Macvtap, Passt, Tap, VhostMacvtap, connect, reach,
                     serve, transfer, wait_carrier)


class OwnTap(Tap):
    """A tap that volt-vmm makes."""

    name = "a tap of its own"

    def __init__(self):
        super().__init__()
        self.host.ip("link delete t0")

    def started(self, g):
        self.host.ip("link set t0 master br0")


def _processes():
    """Helper programs of ours and passt, of whatever parent."""
    found = set()
    for path in glob.glob("/proc/[0-9]*/comm"):
        try:
            with open(path, encoding="utf-8", errors="replace") as f:
                name = f.read().strip()
        except OSError:
            continue
        if name.startswith(("volt-helper", "passt", "pasta")):
            found.add((path.split("/")[2], name))
    return found


def _links(namespace):
    """What may not change: the links, whose they are, and who listens to everything on them."""
    return {name: (x.get("master"), x.get("promiscuity"), x.get("linkinfo", {}).get("info_kind"))
            for name, x in namespace.links().items()}


def _snapshot(backend):
    return {"host": _links(backend.host), "world": _links(backend.world),
            "processes": _processes(), "devices": sorted(glob.glob("/dev/tap*")),
            "units": sorted(glob.glob(networkd.UNITS + "/*")),
            "sockets": sorted(glob.glob(vt.tmp() + "/*.sock*"))}


def _restored(backend, before):
    """Waits until all is as it was."""
    end = time.monotonic() + 10 * vt.FACTOR
    while (now := _snapshot(backend)) != before:
        vt.check(time.monotonic() < end, "not as before: " + "; ".join(
            f"{k} {before[k]}, now {now[k]}" for k in before if before[k] != now[k]))
        time.sleep(0.1)


def _parent_is_free(backend):
    """Only without another macvtap over it the kernel makes one of mode passthru."""
    out = backend.host.run("ip", "link", "add", "link", "p0", "name", "probe", "type", "macvtap",
                           "mode", "passthru", status=None)
    if out:
        return False
    backend.host.ip("link delete probe")
    return True


def _start(backend):
    sock = os.path.join(vt.tmp(), "v.sock")
    g = Talker("tuned-pvh", *backend.options(), "--vsock", sock, netns=backend.host,
               pass_fds=backend.fds)
    connect(g, backend)
    reach(g, backend)
    g.expect(os.path.exists(sock), "there is no vsock socket")
    return g


def _busy(g, backend):
    """Traffic both ways that does not end by itself."""
    g.do(f"(net-tool put {backend.world_ip}:{PORT} 0x1000000000 >/dev/null 2>&1 &)")
    out = backend.world.popen([NET_TOOL, "put", backend.inbound(), 0x1000000000], stdin=DEVNULL,
                              stdout=DEVNULL, stderr=DEVNULL)
    before = backend.world.snmp("Tcp")
    vt.until(lambda: all(backend.world.snmp("Tcp")[k] - before[k] > 300
                         for k in ("InSegs", "OutSegs")), "traffic both ways", 20)
    g.expect(g.proc.poll() is None, "ended under traffic")
    return out


def _kill(make):
    backend = make()
    server = serve(backend)
    before = _snapshot(backend)
    for _ in range(2):
        g = _start(backend)
        traffic = _busy(g, backend)
        g.proc.kill()
        g.proc.wait()
        traffic.kill()
        traffic.wait()
        _restored(backend, before)
        if isinstance(backend, Macvtap):
            vt.until(lambda: _parent_is_free(backend), "the parent is free")
    g = _start(backend)
    transfer(g, backend, 1)
    g.end()
    _restored(backend, before)
    server.kill()


for BACKEND in [OwnTap, *BACKENDS]:
    vt.test(f"{BACKEND.name}: nothing is left, and the next start works", timeout=180)(
        lambda make=BACKEND: _kill(make))


@vt.test("two macvtaps over one parent, and one of them killed, do not disturb each other",
         timeout=120)
def _():
    one = VhostMacvtap()
    serve(one)
    g = _start_second(one, "06:00:0a:07:00:03")
    h = Talker("tuned-pvh", *one.options(), netns=one.host)
    connect(h, one)
    reach(h, one)
    transfer(h, one, 1)
    g.listens()
    g.proc.kill()
    g.proc.wait()
    transfer(h, one, 1)
    h.end()


def _start_second(backend, mac):
    return Talker("tuned-pvh", "--net", f"{Macvtap.net(backend)},mac={mac}", netns=backend.host)


@vt.test("passt killed: the guest sees its link go, the log says why, the VM goes on", timeout=90)
def _():
    backend = Passt()
    serve(backend)
    g = Talker("tuned-pvh", *backend.options(), netns=backend.host)
    connect(g, backend)
    reach(g, backend)
    children = [p for p, name in _processes() if name.startswith("passt")
                and f"PPid:\t{g.pid}\n" in open(f"/proc/{p}/status", encoding="ascii").read()]
    vt.same(len(children), 1, "passt processes of the monitor")
    os.kill(int(children[0]), 9)
    wait_carrier(g, 0)
    g.expect("passt (pid" in g.err() and "the link is down" in g.err(), "the log does not say so")
    g.do("echo still here")
    g.end()
