# SPDX-License-Identifier: Apache-2.0
"""Runs the network tests: one guest each contestant, data path and round, the jobs one after another.

The tap lies in a network namespace of this process, so it neither meets nor disturbs others.
"""
import ctypes
import os
import shutil
import subprocess
import time

import netjob
import procfs

CLONE_NEWNET = 0x40000000
PATHS = ("tap", "vhost")


def prepare(net, work):
    """None, or why there can be no network tests here."""
    if os.geteuid() != 0:
        return "needs root"
    for path in ("/dev/net/tun", "/dev/vhost-net", "/dev/vhost-vsock"):
        if not os.path.exists(path):
            return f"there is no {path}"
    for program in ("ip", "iperf3"):
        if not shutil.which(program):
            return f"there is no {program}"
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.unshare(CLONE_NEWNET) != 0:
        return f"a network namespace: {os.strerror(ctypes.get_errno())}"
    for words in ("link set lo up", f"tuntap add dev {netjob.TAP} mode tap vnet_hdr",
                  f"address add {netjob.HOST}/24 dev {netjob.TAP}", f"link set {netjob.TAP} up"):
        subprocess.run(["ip", *words.split()], check=True)
    with open(os.path.join(work, "net-script"), "wb") as f:
        f.write(netjob.script())
    with open(os.path.join(work, "net-scratch"), "wb") as f:
        f.truncate(1 << 20)
    net["ready"] = True
    return None


class Guest:
    """A monitor whose guest is ready, and the jobs."""

    def __init__(self, monitor, net, values):
        self.m, self.net, self.values, self.count = monitor, net, values, 0

    def tell(self, line):
        """Begins a command in the guest; returns what its end will be marked by."""
        self.count += 1
        mark = f"volt-net-done-{self.count}"
        os.write(self.m.stdin, f"{line}; echo {mark}\n".encode())
        return mark.encode() + b"\n"

    def wait(self, mark):
        self.m.wait_for(mark, self.net["timeout"])
        before = self.m.console.split(mark)[0]
        return before.rsplit(b"volt-net-done-", 1)[-1].decode(errors="replace")

    def host(self, *argv):
        r = subprocess.run([str(a) for a in argv], stdin=subprocess.DEVNULL, text=True,
                           stdout=subprocess.PIPE, stderr=subprocess.STDOUT, check=False,
                           timeout=self.net["timeout"])
        return r.stdout

    def tcp(self, streams, out):
        return netjob.parse_iperf(self.host(*netjob.iperf(self.net["seconds"], streams, out)))

    def udp(self, out):
        port, ms, tool = netjob.PORT + 1, self.net["seconds"] * 1000, self.net["tool"]
        if out:
            drain = subprocess.Popen([tool, "drain", f"{netjob.HOST}:{port}", "1000"], text=True,
                                     stdin=subprocess.DEVNULL, stdout=subprocess.PIPE)
            drain.stdout.readline()
            self.wait(self.tell(f"net-tool flood {netjob.HOST}:{port} 64 0 {ms}"))
            return netjob.parse_drain(drain.communicate(timeout=self.net["timeout"])[0])
        mark = self.tell(f"net-tool drain {netjob.GUEST}:{port} 1000")
        self.m.wait_for(b"draining\n", self.net["timeout"])
        self.host(tool, "flood", f"{netjob.GUEST}:{port}", 64, 0, ms)
        return netjob.parse_drain(self.wait(mark))

    def rr(self):
        return netjob.parse_rr(self.host(self.net["tool"], "rr", f"{netjob.GUEST}:{netjob.PORT}",
                                         64, self.net["requests"]))

    def vsock(self, out):
        address = (f"unix:{self.values['vsock']}:{netjob.PORT}" if self.m.name == "volt" else
                   f"vsock:{netjob.CID}:{netjob.PORT}")
        return netjob.parse_transfer(self.host(self.net["tool"], "get" if out else "put", address,
                                               self.net["vsock_mib"] << 20))

    def run(self, job):
        """{amount, seconds} or {p50_ns, p99_ns}, and the CPU time that it took."""
        kind, out = job.split("-")[0], job.endswith("-out")
        cpu, start = procfs.cpu_ns(self.m.pid) + procfs.vhost_ns(self.m.pid), time.monotonic_ns()
        if kind == "rr":
            result = dict(zip(("p50_ns", "p99_ns"), self.rr()))
        else:
            got = (self.tcp(int(kind[3]), out) if kind.startswith("tcp") else
                   self.udp(out) if kind == "udp" else self.vsock(out))
            result = dict(zip(("amount", "seconds"), got))
        return dict(result, wall_ns=time.monotonic_ns() - start,
                    cpu_ns=procfs.cpu_ns(self.m.pid) + procfs.vhost_ns(self.m.pid) - cpu)


def jobs(path):
    """vsock has no part in how frames go."""
    return [j for j in netjob.JOBS if path == "tap" or not j.startswith("vsock")]
