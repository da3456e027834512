# SPDX-License-Identifier: Apache-2.0
"""Network namespaces of a test, what is in them, and programs that run there.

A namespace is held by a descriptor of the test's process and by what runs in it, and has no name:
so nothing is left when the test ends, however it ends.
"""
import ctypes
import fcntl
import json
import os
import re
import struct
import subprocess
import time

import vt

CLONE_NEWNET, CLONE_NEWNS = 0x40000000, 0x00020000
TUNSETIFF, IFF_TAP, IFF_NO_PI, IFF_VNET_HDR = 0x400454ca, 0x0002, 0x1000, 0x4000
_libc = ctypes.CDLL(None, use_errno=True)


def _call(name, *args):
    if getattr(_libc, name)(*args) != 0:
        raise OSError(ctypes.get_errno(), f"{name}: {os.strerror(ctypes.get_errno())}")


class Namespace:
    """Lines are those of `ip -batch`."""

    def __init__(self, *lines):
        if os.geteuid() != 0:
            raise vt.Skip("needs root, for network namespaces")
        own = os.open("/proc/self/ns/net", os.O_RDONLY | os.O_CLOEXEC)
        try:
            _call("unshare", CLONE_NEWNET)
            self.fd = os.open("/proc/self/ns/net", os.O_RDONLY | os.O_CLOEXEC)
        finally:
            _call("setns", own, CLONE_NEWNET)
            os.close(own)
        self.ip("link set lo up", *lines)

    @classmethod
    def own(cls):
        """The one that the test's process is in."""
        n = cls.__new__(cls)
        n.fd = os.open("/proc/self/ns/net", os.O_RDONLY | os.O_CLOEXEC)
        return n

    def enter(self):
        """For preexec_fn; the caller does not come back."""
        _call("setns", self.fd, CLONE_NEWNET)

    def popen(self, argv, **kw):
        return subprocess.Popen([str(a) for a in argv], preexec_fn=self.enter, **kw)

    def run(self, *argv, seconds=60, status=0, text=None):
        """Its output, both streams; the status must be this one (None: any)."""
        proc = self.popen(argv, stdin=subprocess.PIPE if text else subprocess.DEVNULL,
                          stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
        try:
            out = proc.communicate(text, timeout=seconds * vt.FACTOR)[0]
        except subprocess.TimeoutExpired:
            proc.kill()
            vt.check(False, f"{argv} did not end; it said {proc.communicate()[0]!r}")
        vt.check(status in (None, proc.returncode), f"{argv}: status {proc.returncode}\n{out}")
        return out

    def ip(self, *lines):
        self.run("ip", "-batch", "-", text="\n".join(lines) + "\n")

    def links(self):
        """{name: what `ip -details -json link` says of it}."""
        return {x["ifname"]: x for x in json.loads(self.run("ip", "-details", "-json", "link"))}

    def traffic(self, dev):
        """(time, {"rx_bytes", "rx_packets", "tx_bytes", "tx_packets"}) of a link."""
        def read():
            with open("/proc/thread-self/net/dev", encoding="ascii") as f:
                return time.monotonic(), f.read()

        at, text = self.within(read)
        words = re.search(rf"^ *{dev}: *(.*)$", text, re.M)[1].split()
        return at, dict(zip(("rx_bytes", "rx_packets", "tx_bytes", "tx_packets"),
                            (int(words[i]) for i in (0, 1, 8, 9))))

    def move(self, dev, other):
        """Moves a link into the other namespace."""
        self.run("ip", "link", "set", dev, "netns", f"/proc/{os.getpid()}/fd/{other.fd}")

    def sysctl(self, name, value):
        # procfs shows the network of who opens the file.
        self.run("sh", "-c", f"echo '{value}' >/proc/sys/{name}")

    def snmp(self, group):
        """{counter: value} of one group of /proc/net/snmp."""
        return snmp(self.run("cat", "/proc/thread-self/net/snmp"), group)

    def within(self, function):
        """Calls the function in the namespace: what it opens belongs there."""
        own = os.open("/proc/self/ns/net", os.O_RDONLY | os.O_CLOEXEC)
        try:
            self.enter()
            return function()
        finally:
            _call("setns", own, CLONE_NEWNET)
            os.close(own)

    def tap(self, name, flags=IFF_TAP | IFF_NO_PI | IFF_VNET_HDR):
        """The descriptor of a tap, which is made if there is none."""
        fd = self.within(lambda: os.open("/dev/net/tun", os.O_RDWR | os.O_CLOEXEC | os.O_NONBLOCK))
        # The namespace is that of who opened the device.
        fcntl.ioctl(fd, TUNSETIFF, struct.pack("16sH22x", name.encode(), flags))
        return fd


def own_dev():
    """Gives the test's process a /dev of its own with what volt-vmm needs, open to everybody."""
    if os.geteuid() != 0:
        raise vt.Skip("needs root, for a mount namespace")
    _call("unshare", CLONE_NEWNS)
    subprocess.run(["sh", "-ec", "mount --make-rprivate /; mount -t tmpfs -o mode=755 tmpfs /dev; "
                    "mkdir /dev/net; mknod -m 666 /dev/null c 1 3; mknod -m 666 /dev/urandom c 1 9; "
                    "mknod -m 666 /dev/kvm c 10 232; mknod -m 666 /dev/net/tun c 10 200"],
                   check=True)


def snmp(text, group):
    head, values = (m.split() for m in re.findall(rf"^{group}: (.*)$", text, re.M))
    return dict(zip(head, map(int, values)))


def veth(a, a_name, b, b_name):
    """A cable between two namespaces."""
    a.ip(f"link add {a_name} type veth peer name {b_name}")
    a.move(b_name, b)
