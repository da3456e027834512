# SPDX-License-Identifier: Apache-2.0
"""A host on which an interface cannot be had: one message that says what, where and what to do."""
import os
from subprocess import DEVNULL

import vt
from netns import IFF_NO_PI, IFF_TAP, IFF_VNET_HDR, Namespace, veth
from test_config import as_nobody_can, errors
from vmm import BINARY, payload

IFF_TUN = 0x0001
NET_ADMIN = "--bounding-set=-net_admin"
# In a mount namespace of its own; what volt-vmm needs, less what the test wants to be missing.
DEV = ("mount -t tmpfs tmpfs /dev && mknod -m 666 /dev/null c 1 3 && "
       "mknod -m 666 /dev/kvm c 10 232 && mknod -m 666 /dev/urandom c 1 9 && ")
TUN = "mkdir /dev/net && mknod -m 666 /dev/net/tun c 10 200 && "


def _fails(host, net, *words, before="", wrap=(), binary=BINARY, kernel=None, **kw):
    """volt-vmm ends with 1, and its only message has all the words."""
    argv = [*wrap, binary, "--kernel", kernel or payload("hello"), "--net", net]
    if before:
        argv = ["unshare", "--mount", "sh", "-c", before + 'exec "$@"', "sh", *argv]
    with open(os.path.join(vt.tmp(), "err"), "w+b") as err:
        proc = host.popen(argv, stdin=DEVNULL, stdout=DEVNULL, stderr=err, **kw)
        status = proc.wait(30)
        err.seek(0)
        text = err.read().decode()
    lines = errors(text)
    vt.same((status, len(lines)), (1, 1), f"exit status and number of messages of {text!r}")
    for word in words:
        vt.check(word in lines[0], f"{word!r} is not in {lines[0]!r}")


@vt.test("a tap that is in use: who has it")
def _():
    host = Namespace("tuntap add dev t0 mode tap vnet_hdr")
    fd = host.tap("t0")
    _fails(host, "tap=t0", "'net0'", "'t0'", "in use by", str(os.getpid()))
    os.close(fd)


@vt.test("a name that is a tun, a bridge, a macvtap: what it is")
def _():
    host = Namespace("tuntap add dev t0 mode tun", "link add br0 type bridge",
                     "link add v0 type veth peer name v1", "link add m0 link v0 type macvtap")
    _fails(host, "tap=t0", "'t0' is a tun", "ip tuntap add t0 mode tap")
    _fails(host, "tap=br0", "'br0' is not a tap", "bridge")
    _fails(host, "tap=m0", "'m0' is not a tap", "macvtap")


@vt.test("queues of a tap that do not fit: how to make it")
def _():
    host = Namespace("tuntap add dev t1 mode tap vnet_hdr",
                     "tuntap add dev t2 mode tap vnet_hdr multi_queue")
    _fails(host, "tap=t1,queues=2", "single queue", "2 queue pairs", "multi_queue")
    _fails(host, "tap=t2", "multi-queue")


def _fd_fails(flags, *words):
    host = Namespace()
    fd = os.open("/dev/null", os.O_RDWR) if flags is None else host.tap("t0", flags)
    _fails(host, f"fd={fd}", *words, pass_fds=(fd,))


@vt.test("a descriptor with the wrong flags: which one is missing")
def _():
    _fd_fails(IFF_TAP | IFF_NO_PI, "'t0'", "no virtio header", "IFF_VNET_HDR")
    _fd_fails(IFF_TAP | IFF_VNET_HDR, "'t0'", "packet information", "IFF_NO_PI")
    _fd_fails(IFF_TUN | IFF_NO_PI | IFF_VNET_HDR, "'t0' is a tun")
    _fd_fails(None, "is not of a tap")


@vt.test("a descriptor of /dev/net/tun that is attached to nothing, and one that is not open")
def _():
    host = Namespace()
    fd = os.open("/dev/net/tun", os.O_RDWR)
    _fails(host, f"fd={fd}", "of no tap yet", pass_fds=(fd,))
    os.close(fd)
    _fails(host, "fd=77", "77")


@vt.test("no /dev/net/tun: the module")
def _():
    _fails(Namespace(), "tap=t0", "/dev/net/tun", "No such file", "modprobe tun", before=DEV)


@vt.test("a /dev/net/tun that may not be opened: its mode")
def _():
    os.chmod(vt.tmp(), 0o755)
    nobody = ("setpriv", "--reuid=65534", "--regid=65534", "--clear-groups")
    _fails(Namespace(), "tap=t0", "/dev/net/tun", "Permission denied", "chmod 666",
           before=DEV + TUN + "chmod 600 /dev/net/tun && ", wrap=nobody,
           binary=as_nobody_can(BINARY), kernel=as_nobody_can(payload("hello")))


@vt.test("no CAP_NET_ADMIN: how to make the tap beforehand")
def _():
    host = Namespace()
    _fails(host, "tap=t9", "there is none", "CAP_NET_ADMIN", "ip tuntap add t9 mode tap",
           wrap=("setpriv", NET_ADMIN))
    host.ip("tuntap add dev t0 mode tap vnet_hdr user 4242")
    _fails(host, "tap=t0", "user 4242", "CAP_NET_ADMIN", wrap=("setpriv", NET_ADMIN))
    vt.same(sorted(host.links()), ["lo", "t0"], "links afterwards")


@vt.test("no CAP_NET_ADMIN: a macvtap")
def _():
    host, other = Namespace(), Namespace()
    veth(host, "p0", other, "p1")
    _fails(host, "macvtap=p0", "'p0'", "CAP_NET_ADMIN", wrap=("setpriv", NET_ADMIN))


@vt.test("the parent of a macvtap: none, taken, no Ethernet")
def _():
    host, other = Namespace("link add br0 type bridge"), Namespace()
    veth(host, "p0", other, "p1")
    host.ip("link set p0 master br0", "tuntap add dev t0 mode tun")
    _fails(host, "macvtap=p9", "'p9'", "no link of that name")
    _fails(host, "macvtap=p0", "'p0'", "busy", "bridge")
    _fails(host, "macvtap=t0", "'t0'", "no Ethernet link")
    vt.same(sorted(host.links()), ["br0", "lo", "p0", "t0"], "links afterwards")


@vt.test("passt is not installed: the package")
def _():
    _fails(Namespace(), "passt", "passt is not installed", "package",
           env=dict(os.environ, PATH="/nonexistent"))


@vt.test("passt without a route to anywhere: what it needs")
def _():
    os.chmod(vt.tmp(), 0o755)
    _fails(Namespace(), "passt", "passt failed at start", "default route")


@vt.test("a port that another has: passt's own words")
def _():
    host, other = Namespace(), Namespace()
    veth(host, "p0", other, "p1")
    host.ip("address add 192.0.2.2/24 dev p0", "link set p0 up",
            "route add default via 192.0.2.1")
    other.ip("link set p1 up")
    holder = host.popen(["busybox", "nc", "-l", "-p", "8080"], stdin=DEVNULL)
    vt.until(lambda: ":1F90 " in host.run("cat", "/proc/net/tcp", "/proc/net/tcp6"), "the listener")
    _fails(host, "passt,tcp=8080:80", "passt failed at start", "8080")
    holder.kill()


@vt.test("systemd-networkd does not run: the message says so")
def _():
    host = Namespace()
    _fails(host, "networkd=vt0,bridge=br0", "networkd", before="mount -t tmpfs tmpfs /run && ")
    vt.same(sorted(host.links()), ["lo"], "links afterwards")


@vt.test("a helper program is missing: its name and where it was looked for")
def _():
    host, other = Namespace(), Namespace()
    veth(host, "p0", other, "p1")
    _fails(host, "macvtap=p0", "volt-helper-macvtap", vt.tmp(),
           env=dict(os.environ, VOLT_HELPER_DIR=vt.tmp()))


@vt.test("the second interface fails: the first one's tap is gone again")
def _():
    host = Namespace()
    fd = host.tap("t0")
    argv = [BINARY, "--kernel", payload("hello"), "--net", "tap=new", "--net", "tap=t0"]
    text = host.run(*argv, status=1)
    vt.check("'net1'" in text and "in use" in text, text)
    vt.same(sorted(host.links()), ["lo", "t0"], "links afterwards")
    os.close(fd)
