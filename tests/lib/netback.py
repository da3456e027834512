# SPDX-License-Identifier: Apache-2.0
"""The surroundings that each network back end needs, and traffic between a guest and the outside.

    host    the namespace in which volt-vmm runs: bridge, tap, parent of the macvtap, passt
    world   the namespace at the other end, which may be the host itself
"""
import os
import re
import time
from subprocess import DEVNULL, PIPE

import networkd
import vt
from netns import Namespace, snmp, veth

NET_TOOL = os.path.join(os.environ.get("VOLT_BUILD") or os.path.join(vt.TREE, "build-release"),
                        "tests", "net-tool")
GUEST, WORLD, PORT = "10.7.0.2", "10.7.0.1", 4711
MAC = "06:00:0a:07:00:02"
FULL = 1500 - 20 - 8        # payload of a ping that fills the MTU

# Debian's busybox asks for another place; an image has neither. In one line, for Talker.do().
DHCP_SCRIPT = ("printf '%s\\n' '#!/bin/sh' '[ $1 = bound ] || exit 0' "
               "'ip address replace $ip/$mask dev $interface' "
               "'[ -z \"$router\" ] || ip route replace default via ${router%% *} dev $interface' "
               ">/tmp/dhcp && chmod +x /tmp/dhcp")


def dhcp(g):
    """The guest gets its address and route."""
    g.do(DHCP_SCRIPT)
    g.do("udhcpc -i eth0 -f -q -n -t 20 -T 1 -s /tmp/dhcp", 30)


class Backend:
    """One way to be connected. mtu: what goes without fragments both ways."""

    name = None
    fds = ()
    link = None             # (namespace, link) whose state the guest must see, or None
    ping_in = True          # the outside can ping the guest
    seconds = 60            # for 64 MiB, one way
    quick_mib = 64          # what make test moves; make soak moves 64 by all of them

    def __init__(self):
        self.guest, self.world_ip = GUEST, WORLD
        self.host = Namespace()
        self.world = self.host

    def net(self):
        """The value of --net, without what is the same for all."""
        raise NotImplementedError

    def options(self, more=""):
        return ["--net", f"{self.net()},id=net0,mac={MAC}{more}"]

    def started(self, g):
        """What has to be done when volt-vmm has made its link."""

    def address(self, g):
        """In the guest."""
        g.do(f"ip address add {GUEST}/24 dev eth0")

    def inbound(self):
        """The address by which the outside reaches the guest's PORT."""
        return f"{GUEST}:{PORT}"

    def flap(self, up):
        namespace, dev = self.link
        namespace.ip(f"link set {dev} {'up' if up else 'down'}")


class Tap(Backend):
    """A tap that is there already, a port of a bridge that has the host's address."""

    name = "tap"

    def __init__(self):
        super().__init__()
        self.host.ip("link add br0 type bridge", f"address add {WORLD}/24 dev br0",
                     "link set br0 up", "tuntap add dev t0 mode tap vnet_hdr",
                     "link set t0 master br0 up")
        self.link = (self.host, "t0")

    def net(self):
        return "tap=t0"


class TapDhcp(Tap):
    """The same tap, and a real DHCP server behind it, which hands out one address."""

    name = "tap with udhcpd"
    LEASE = "10.7.0.77"

    def __init__(self):
        super().__init__()
        self.guest = self.LEASE
        conf = os.path.join(vt.tmp(), "udhcpd.conf")
        with open(conf, "w", encoding="ascii") as f:
            f.write(f"start {self.LEASE}\nend {self.LEASE}\nmax_leases 1\ninterface br0\n"
                    f"lease_file {conf}.leases\npidfile {conf}.pid\n"
                    f"option subnet 255.255.255.0\noption router {WORLD}\noption lease 600\n")
        self.log = conf + ".log"
        with open(conf + ".leases", "wb"), open(self.log, "wb") as log:
            self.host.popen(["busybox", "udhcpd", "-f", conf], stdin=DEVNULL, stdout=log, stderr=log)

    def address(self, g):
        dhcp(g)
        with open(self.log, encoding="utf-8", errors="replace") as f:
            g.expect(f"sending ACK to {self.LEASE}" in f.read(), "udhcpd has not given the lease")
        g.expect(f"default via {WORLD} " in g.do("ip route"), "no default route")

    def inbound(self):
        return f"{self.LEASE}:{PORT}"


class TapFd(Tap):
    """The same tap, opened by who starts volt-vmm."""

    name = "tap by fd"

    def __init__(self):
        super().__init__()
        self.fds = (self.host.tap("t0"),)

    def net(self):
        return f"fd={self.fds[0]}"


class Macvtap(Backend):
    """Over one end of a cable; a macvtap cannot talk to its own parent, only to the other end."""

    name = "macvtap"

    def __init__(self):
        super().__init__()
        self.world = Namespace()
        veth(self.host, "p0", self.world, "w0")
        self.host.ip("link set p0 up")
        self.world.ip(f"address add {WORLD}/24 dev w0", "link set w0 up")
        self.link = (self.host, "p0")

    def net(self):
        return "macvtap=p0"


class VhostTap(Tap):
    name = "vhost on tap"

    def net(self):
        return "tap=t0,vhost=on"


class VhostMacvtap(Macvtap):
    name = "vhost on macvtap"

    def net(self):
        return "macvtap=p0,vhost=on"


class Passt(Backend):
    """Everything of the guest's is done by passt in the host's name: the guest gets its address and
    route by DHCP, and can be reached by what is forwarded only. There is no link to flap."""

    name = "passt"
    ping_in = False
    seconds = 150           # no offloads: 1448 bytes at a time through two processes
    quick_mib = 16
    HOST, FAR = "192.0.2.2", "198.51.100.1"

    def __init__(self):
        super().__init__()
        self.world = Namespace()
        veth(self.host, "p0", self.world, "w0")
        self.host.ip(f"address add {self.HOST}/24 dev p0", "link set p0 up",
                     "route add default via 192.0.2.1")
        self.world.ip("address add 192.0.2.1/24 dev w0", "link set w0 up",
                      f"address add {self.FAR}/32 dev lo")
        self.host.sysctl("net/ipv4/ping_group_range", "0 2147483647")
        self.guest, self.world_ip = self.HOST, self.FAR

    def net(self):
        return f"passt,tcp={PORT + 1}:{PORT}"

    def address(self, g):
        dhcp(g)

    def inbound(self):
        return f"{self.HOST}:{PORT + 1}"


class Networkd(Backend):
    """A tap that a real systemd-networkd makes a port of its bridge. The test's process itself is in
    the namespaces of that host."""

    name = "networkd"

    def __init__(self):
        daemons = networkd.Host()
        super().__init__()
        self.host = self.world = Namespace.own()
        daemons.unit("br0.netdev", "[NetDev]\nName=br0\nKind=bridge\n")
        daemons.unit("br0.network", "[Match]\nName=br0\n[Network]\nConfigureWithoutCarrier=yes\n"
                                    f"Address={WORLD}/24\nLinkLocalAddressing=no\n")
        vt.until(lambda: f" {WORLD}/24" in self.host.run("ip", "address", "show", "dev", "br0"),
                 "networkd's bridge")
        self.link = (self.host, "vt0")

    def net(self):
        return "networkd=vt0,bridge=br0"

    def started(self, g):
        vt.until(lambda: self.host.links().get("vt0", {}).get("master") == "br0",
                 "networkd makes the tap a port of the bridge")


BACKENDS = [Tap, TapFd, Macvtap, VhostTap, VhostMacvtap, Passt, Networkd]


# ---- a guest's side of the network ----

def wait_carrier(g, value, seconds=10):
    """The guest sees the link in this state."""
    g.do(f"n=0; until [ \"$(cat /sys/class/net/eth0/carrier 2>/dev/null)\" = {value} ]; do "
         f"n=$((n + 1)); [ $n -lt {int(seconds * vt.FACTOR * 10)} ] || break; sleep 0.1; done; "
         f"[ \"$(cat /sys/class/net/eth0/carrier)\" = {value} ]", seconds + 10)


def connect(g, backend):
    """Brings the guest's interface up; it then serves transfers."""
    g.listens()
    backend.started(g)
    g.do("ip link set lo up; ip link set eth0 up")
    wait_carrier(g, 1)
    got = g.do("cat /sys/class/net/eth0/address").strip()
    g.expect(got == MAC, f"the guest's address is {got}, not {MAC}")
    backend.address(g)
    g.do(f"(net-tool serve 0.0.0.0:{PORT} >/dev/null 2>&1 &)")


def serve(backend):
    """Transfers for the guest in the world; it ends with the test."""
    p = backend.world.popen([NET_TOOL, "serve", f"0.0.0.0:{PORT}"], stdin=DEVNULL, stdout=PIPE)
    vt.same(p.stdout.readline(), b"serving\n", "what net-tool says")
    return p


def received(text):
    found = re.search(r"(\d+) packets transmitted, (\d+) (?:packets )?received", text)
    return found and found[1] == found[2] and int(found[2]) > 0


def ping(g, backend, size=56, count=3):
    """Both ways, all answered. A few more at first are for who must learn addresses."""
    text = g.do(f"ping -q -c {count} -W 5 -s {size} {backend.world_ip}", 10 + 5 * count, None)
    g.expect(received(text), f"the guest's ping of {size} bytes: {text}")
    if backend.ping_in:
        text = backend.world.run("busybox", "ping", "-q", "-c", count, "-W", 5, "-s", size,
                                 backend.guest, seconds=10 + 5 * count, status=None)
        g.expect(received(text), f"the outside's ping of {size} bytes: {text}")


def reach(g, backend, seconds=15):
    """Waits for the first answer."""
    end = time.monotonic() + seconds * vt.FACTOR
    while not received(g.do(f"ping -q -c 1 -W 1 {backend.world_ip}", 10, None)):
        g.expect(time.monotonic() < end, f"no answer to a ping in {seconds * vt.FACTOR:g} s")


def _fragments(backend, g):
    def count(found):
        return found["FragCreates"] + found["ReasmReqds"]

    return (count(backend.world.snmp("Ip")),
            count(snmp(g.do("grep ^Ip: /proc/net/snmp"), "Ip")))


def full_ping(g, backend):
    """A packet of exactly the MTU goes both ways in one piece, and a larger one does not."""
    before = _fragments(backend, g)
    ping(g, backend, FULL, 2)
    after = _fragments(backend, g)
    g.expect(before == after, f"fragments at full MTU (world, guest): {before}, then {after}")
    ping(g, backend, FULL + 1, 1)
    g.expect(_fragments(backend, g) > after, "the MTU is larger than 1500, nothing was proved")


def _transferred(g, text, bytes_):
    found = re.search(r"(put|get) (\d+) bytes sum (\w+) theirs (\d+) (\w+) in (\d+) us", text)
    g.expect(found and found[2] == found[4] == str(bytes_) and found[3] == found[5],
             f"the transfer failed: {text}")
    return bytes_ / int(found[6])


def transfer(g, backend, mib):
    """TCP with checksums: out by the guest's connection, in by the outside's. MB/s of both."""
    size = mib << 20
    text = g.do(f"net-tool put {backend.world_ip}:{PORT} {size}", backend.seconds, None)
    out = _transferred(g, text, size)
    text = backend.world.run(NET_TOOL, "put", backend.inbound(), size, seconds=backend.seconds,
                             status=None)
    return out, _transferred(g, text, size)


def flap(g, backend):
    """The guest sees its link go and come back, and is then reachable as before."""
    if not backend.link:
        return
    backend.flap(False)
    wait_carrier(g, 0)
    backend.flap(True)
    wait_carrier(g, 1)
    reach(g, backend)
