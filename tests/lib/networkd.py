# SPDX-License-Identifier: Apache-2.0
"""A host of the test's own with a real dbus-daemon and a real systemd-networkd.

Both run in a network and a mount namespace with an empty /run. /sys is mounted read-only there, by
which networkd knows that it is in a container and that no udev will tell it of links (udev=True:
it waits for one).
"""
import ctypes
import os
import subprocess

import vt

NETWORKD = "/lib/systemd/systemd-networkd"
UNITS = "/run/systemd/network"
CLONE_NEWNS, CLONE_NEWNET = 0x00020000, 0x40000000

BUS = """<!DOCTYPE busconfig PUBLIC "-//freedesktop//DTD D-Bus Bus Configuration 1.0//EN"
 "http://www.freedesktop.org/standards/dbus/1.0/busconfig.dtd">
<busconfig>
  <type>system</type>
  <listen>unix:path=/run/dbus/system_bus_socket</listen>
  <auth>EXTERNAL</auth>
  <policy context="default">
    <allow user="*"/>
    <allow own="*"/>
    <allow send_destination="*"/>
    <allow receive_sender="*"/>
    %s
  </policy>
</busconfig>
"""


def run(*argv):
    r = subprocess.run(argv, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
                       check=False, timeout=60)
    vt.check(r.returncode == 0, f"{' '.join(argv)}: {r.stdout}")
    return r.stdout


def links():
    """{name: rest of the line} of `ip -o link`."""
    return {line.split(": ")[1].split("@")[0]: line for line in run("ip", "-o", "link").splitlines()}


class Host:
    """Enters the namespaces: the calling process is a test's, and ends with it."""

    def __init__(self, bus=True, networkd=True, policy="", udev=False):
        if os.geteuid() != 0:
            raise vt.Skip("needs root, for namespaces")
        libc = ctypes.CDLL(None, use_errno=True)
        vt.check(libc.unshare(CLONE_NEWNS | CLONE_NEWNET) == 0, os.strerror(ctypes.get_errno()))
        run("mount", "--make-rprivate", "/")
        run("mount", "-t", "tmpfs", "-o", "mode=755", "tmpfs", "/run")
        run("mount", "-t", "sysfs", "-o", "rw" if udev else "ro", "sysfs", "/sys")
        run("ip", "link", "set", "lo", "up")
        os.makedirs("/run/dbus")
        os.makedirs(UNITS)
        self.bus = self.networkd = None
        if bus:
            self.start_bus(policy)
        if networkd:
            self.start_networkd()

    def start_bus(self, policy=""):
        with open("/run/bus.conf", "w", encoding="ascii") as f:
            f.write(BUS % policy)
        self.bus = subprocess.Popen(["dbus-daemon", "--config-file=/run/bus.conf", "--nofork",
                                     "--nopidfile"])
        vt.until(lambda: os.path.exists("/run/dbus/system_bus_socket"), "the bus")

    def start_networkd(self):
        """Its folder is what systemd would make for it (RuntimeDirectory=)."""
        for folder in ("", "/links", "/leases", "/lldp"):
            os.makedirs("/run/systemd/netif" + folder, exist_ok=True)
        run("chown", "-R", "systemd-network:systemd-network", "/run/systemd/netif")
        self.networkd = subprocess.Popen([NETWORKD], env=dict(os.environ, SYSTEMD_LOG_TARGET="console"))
        ping = ["busctl", "--system", "--auto-start=no", "call", "org.freedesktop.network1",
                "/org/freedesktop/network1", "org.freedesktop.DBus.Peer", "Ping"]
        vt.until(lambda: subprocess.run(ping, stderr=subprocess.DEVNULL, check=False).returncode == 0,
                 "networkd on the bus")

    @staticmethod
    def unit(name, text):
        with open(f"{UNITS}/{name}", "w", encoding="ascii") as f:
            f.write(text)
        run("networkctl", "reload")

    def bridge(self, name="br0"):
        """A bridge of networkd's."""
        self.unit(name + ".netdev", f"[NetDev]\nName={name}\nKind=bridge\n")
        self.unit(name + ".network", f"[Match]\nName={name}\n[Network]\nConfigureWithoutCarrier=yes\n"
                                     "Address=10.1.1.1/24\nLinkLocalAddressing=no\n")
        vt.until(lambda: " configured" in run("networkctl", "list", "--no-legend", name),
                 f"{name} configured")
