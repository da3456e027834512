# SPDX-License-Identifier: Apache-2.0
"""volt-helper-networkd against a real systemd-networkd: what it declares, what it takes back, and
one clear message for each kind of host where it cannot.
"""
import fcntl
import os
import signal
import socket
import stat
import struct
import subprocess

import vt
from networkd import Host, UNITS, links, run
from vmm import BUILD

HELPER = os.path.join(BUILD, "src", "helper", "volt-helper-networkd")
TUNSETIFF, IFF_TAP, IFF_NO_PI = 0x400454ca, 2, 0x1000


class Tap:
    """As volt-vmm makes it: gone when its descriptor is closed. Set up."""

    def __init__(self, name="vt0"):
        self.fd = os.open("/dev/net/tun", os.O_RDWR | os.O_CLOEXEC)
        fcntl.ioctl(self.fd, TUNSETIFF, struct.pack("16sH22x", name.encode(), IFF_TAP | IFF_NO_PI))
        run("ip", "link", "set", name, "up")

    def close(self):
        os.close(self.fd)


class Helper:
    """One helper program; code and text are its answer."""

    def __init__(self, *args):
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        with theirs:
            self.proc = subprocess.Popen([HELPER, *args], stdin=theirs)
        self.sock = ours
        ours.settimeout(10 * vt.FACTOR)
        code, self.text = ours.recv(4096).decode().split(" ", 1)
        self.code = int(code)

    def good(self):
        vt.same((self.code, self.text), (0, "ok"), "answer")
        return self

    def bad(self, *words):
        vt.check(self.code != 0, "it said ok")
        for word in words:
            vt.check(word in self.text, f"{word!r} is not in {self.text!r}")
        vt.same(self.proc.wait(10 * vt.FACTOR), 1, "status")
        vt.same(ours(), [], "files left")
        return self

    def gone(self):
        """volt-vmm has ended."""
        self.sock.close()
        vt.same(self.proc.wait(10 * vt.FACTOR), 0, "status")


def ours():
    return sorted(f for f in os.listdir(UNITS) if "-volt-" in f)


def is_port(name="vt0", bridge="br0"):
    return f"master {bridge} " in links()[name]


def networkctl(name="vt0"):
    return run("networkctl", "status", name)


@vt.test("a tap becomes a port of networkd's bridge, and is nothing when the monitor ends")
def _():
    Host().bridge()
    tap = Tap()
    helper = Helper("vt0", "vm-1", "br0").good()
    vt.check(is_port(), links()["vt0"])
    vt.same(ours(), ["10-volt-vt0.network"], "files")
    path = f"{UNITS}/10-volt-vt0.network"
    vt.same(stat.S_IMODE(os.stat(path).st_mode), 0o644, "mode")
    vt.same(os.stat(path).st_nlink, 1, "links")
    with open(path, encoding="ascii") as f:
        text = f.read()
    vt.check('VM "vm-1"' in text.splitlines()[0] and "Bridge=br0" in text, text)
    vt.check("configured" in networkctl() and path in networkctl(), networkctl())
    tap.close()
    helper.gone()
    vt.same(ours(), [], "files")
    vt.check("vt0" not in links(), "the tap is still there")


@vt.test("ten taps come and go at once, and each at its own time")
def _():
    Host().bridge()
    taps = [Tap(f"vt{i}") for i in range(10)]
    helpers = [Helper(f"vt{i}", f"vm-{i}", "br0").good() for i in range(10)]
    for i in range(10):
        vt.check(is_port(f"vt{i}"), links()[f"vt{i}"])
    for i in range(0, 10, 2):
        taps[i].close()
        helpers[i].gone()
    vt.same(ours(), [f"10-volt-vt{i}.network" for i in range(1, 10, 2)], "files")
    for i in range(1, 10, 2):
        vt.check(is_port(f"vt{i}"), links()[f"vt{i}"])
        helpers[i].gone()
    vt.same(ours(), [], "files")


@vt.test("a tap that stays, because it was there before, leaves the bridge")
def _():
    Host().bridge()
    run("ip", "tuntap", "add", "vt0", "mode", "tap")
    helper = Helper("vt0", "vm-1", "br0").good()
    vt.check(is_port(), links()["vt0"])
    helper.gone()
    vt.check("master" not in links()["vt0"], links()["vt0"])
    vt.check("unmanaged" in networkctl(), networkctl())
    Helper("vt0", "vm-1", "br0").good().gone()


@vt.test("without a bridge the administrator's file for the tap counts")
def _():
    host = Host()
    tap = Tap()
    helper = Helper("vt0", "vm-1").good()
    vt.same(ours(), ["90-volt-vt0.network"], "files")
    vt.check("90-volt-vt0.network" in networkctl() and "configured" in networkctl(), networkctl())
    helper.gone()
    host.unit("50-vm.network", "[Match]\nName=vt*\n[Network]\nAddress=10.7.7.1/24\n"
                               "DHCP=yes\n")  # of which nobody will give it a lease
    helper = Helper("vt0", "vm-1").good()
    vt.check("50-vm.network" in networkctl(), networkctl())
    vt.until(lambda: "10.7.7.1/24" in run("ip", "addr", "show", "vt0"), "the address")
    helper.gone()
    tap.close()


@vt.test("what a killed helper left is removed by the next one, what a live one needs is not")
def _():
    Host().bridge()
    taps = [Tap("vt0"), Tap("vt1"), Tap("vt2")]
    live = Helper("vt0", "vm-0", "br0").good()
    dead = Helper("vt1", "vm-1", "br0").good()
    dead.proc.send_signal(signal.SIGKILL)
    dead.proc.wait()
    vt.same(len(ours()), 2, "files of two")
    other = Helper("vt2", "vm-2", "br0").good()
    vt.same(ours(), ["10-volt-vt0.network", "10-volt-vt2.network"], "files")
    again = Helper("vt1", "vm-1", "br0").good()
    for helper in (live, other, again):
        helper.gone()
    vt.same(ours(), [], "files")
    for tap in taps:
        tap.close()


@vt.test("SIGTERM, SIGINT and SIGHUP do not keep it from taking back")
def _():
    Host().bridge()
    tap = Tap()
    signals = {signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGPIPE}
    signal.pthread_sigmask(signal.SIG_BLOCK, signals)  # as helper_start() does
    helper = Helper("vt0", "vm-1", "br0").good()
    for number in signals:
        helper.proc.send_signal(number)
    vt.check(helper.proc.poll() is None, "it ended")
    helper.gone()
    vt.same(ours(), [], "files")
    tap.close()


@vt.test("a networkd that was restarted or stopped meanwhile does not matter at the end")
def _():
    host = Host()
    host.bridge()
    tap = Tap()
    helper = Helper("vt0", "vm-1", "br0").good()
    host.networkd.terminate()
    host.networkd.wait()
    host.start_networkd()
    vt.until(lambda: " configured" in run("networkctl", "list", "--no-legend", "vt0"), "vt0 again")
    vt.check(is_port(), links()["vt0"])
    helper.gone()
    vt.same(ours(), [], "files")
    helper = Helper("vt0", "vm-1", "br0").good()
    host.networkd.kill()
    host.bus.kill()
    helper.gone()
    vt.same(ours(), [], "files")
    tap.close()


@vt.test("no system bus")
def _():
    Host(bus=False, networkd=False)
    Tap()
    Helper("vt0", "vm-1", "br0").bad("D-Bus system bus", "is dbus running?")


@vt.test("systemd-networkd does not run: it is not started by the call")
def _():
    Host(networkd=False)
    Tap()
    Helper("vt0", "vm-1", "br0").bad("systemd-networkd is not running", "systemctl enable --now")


@vt.test("a networkd that hangs: an answer within 10 s")
def _():
    host = Host()
    host.bridge()
    Tap()
    host.networkd.send_signal(signal.SIGSTOP)
    Helper("vt0", "vm-1", "br0").bad("did not answer")
    host.networkd.send_signal(signal.SIGCONT)


@vt.test("a networkd that waits for udev in vain")
def _():
    Host(udev=True)
    Tap()
    Helper("vt0", "vm-1").bad("is systemd-udevd running?")


@vt.test("the bridge does not exist")
def _():
    Host()
    Tap()
    Helper("vt0", "vm-1", "br0").bad("no bridge 'br0'", "Kind=bridge")


@vt.test("the bridge is another kind of link")
def _():
    Host()
    Tap()
    run("ip", "link", "add", "br0", "type", "veth", "peer", "name", "v1")
    Helper("vt0", "vm-1", "br0").bad("'br0' is no bridge", "veth")


@vt.test("the bridge is not networkd's")
def _():
    Host()
    Tap()
    run("ip", "link", "add", "br0", "type", "bridge")
    Helper("vt0", "vm-1", "br0").bad("not its own", ".netdev")


@vt.test("another file configures the link first")
def _():
    host = Host()
    host.bridge()
    Tap()
    host.unit("05-all.network", "[Match]\nName=vt*\n[Network]\nLinkLocalAddressing=no\n"
                                "ConfigureWithoutCarrier=yes\n")
    Helper("vt0", "vm-1", "br0").bad("/05-all.network", "10-volt-vt0.network")


@vt.test("the link does not exist, or is in another namespace than networkd's")
def _():
    Host().bridge()
    Helper("vt0", "vm-1", "br0").bad("no link 'vt0'")
    r = subprocess.run(["unshare", "-n", "sh", "-c",
                        "ip tuntap add vt0 mode tap && ip link add br0 type bridge && "
                        f"exec {HELPER} vt0 vm-1"], stdin=subprocess.DEVNULL, text=True,
                       stderr=subprocess.PIPE, check=False, timeout=60)
    vt.check("does not see the link 'vt0'" in r.stderr, r.stderr)
    vt.same(ours(), [], "files")


@vt.test("the bus refuses")
def _():
    Host(policy='<deny send_interface="org.freedesktop.network1.Manager" send_member="Reload"/>')
    Tap()
    Helper("vt0", "vm-1").bad("refused to reload", "as root")


@vt.test("without root: a message that says so")
def _():
    Host().bridge()
    run("ip", "tuntap", "add", "vt0", "mode", "tap", "user", "65534")
    r = subprocess.run(["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups", HELPER, "vt0",
                        "vm-1", "br0"], stdin=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True,
                       check=False, timeout=60)
    vt.check("needs root" in r.stderr, r.stderr)
    vt.same(ours(), [], "files")


@vt.test("names that mean more than themselves in a unit file")
def _():
    Host()
    for args in (("vt*", "vm"), ("vt 0", "vm"), ("!vt0", "vm"), ("vt0", "a\nb"), ("vt0", "vm", "b/r"),
                 ("", "vm"), ("vt0", "vm", "a" * 16), ("vt0",), ()):
        Helper(*args).bad("networkd")
