# SPDX-License-Identifier: Apache-2.0
"""Helper programs, started as volt-vmm starts them: they undo at EOF, also that of a killed parent."""
import array
import os
import socket
import subprocess
import sys
import textwrap

import vt
from vmm import BUILD

HELPERS = os.path.join(BUILD, "src", "helper")


class Helper:
    """One running helper and our end of its socket."""

    def __init__(self, name, *args):
        self.sock, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        with theirs:
            self.proc = subprocess.Popen([os.path.join(HELPERS, name), *args], stdin=theirs)
        self.sock.settimeout(20 * vt.FACTOR)
        message, data, _, _ = self.sock.recvmsg(512, socket.CMSG_SPACE(16))
        self.answer = message.decode()
        self.fds = array.array("i")
        for _, _, chunk in data:
            self.fds.frombytes(chunk[:len(chunk) - len(chunk) % self.fds.itemsize])

    def close(self):
        self.sock.close()
        for fd in self.fds:
            os.close(fd)
        return self.proc.wait(timeout=20 * vt.FACTOR)


def listen(path):
    s = socket.socket(socket.AF_UNIX)
    s.bind(path)
    return s


def refused(words, name, *args):
    h = Helper(name, *args)
    vt.check(words in h.answer and h.answer.split(" ")[0] not in ("", "0"), h.answer)
    vt.same(h.close(), 1, "status")


@vt.test("unlink: the socket is removed at EOF, and not before")
def _():
    path = os.path.join(vt.tmp(), "v.sock")
    with listen(path):
        h = Helper("volt-helper-unlink", path)
        vt.same(h.answer, "0 ok", "answer")
        vt.check(os.path.exists(path), "it was removed too early")
        vt.same(h.close(), 0, "status")
    vt.check(not os.path.exists(path), "it is still there")


@vt.test("unlink: a relative path, and a folder that is renamed meanwhile")
def _():
    os.mkdir("a")
    with listen("a/v.sock"), listen("w.sock"):
        h, k = Helper("volt-helper-unlink", "a/v.sock"), Helper("volt-helper-unlink", "w.sock")
        vt.same((h.answer, k.answer), ("0 ok", "0 ok"), "answers")
        os.rename("a", "b")
        vt.same((h.close(), k.close()), (0, 0), "status")
    vt.check(os.listdir("b") == [] and not os.path.exists("w.sock"), "it is still there")


@vt.test("unlink: what has come to stand there stays")
def _():
    for kind in "socket", "file", "link", "nothing":
        path = os.path.join(vt.tmp(), kind)
        with listen(path):
            h = Helper("volt-helper-unlink", path)
            vt.same(h.answer, "0 ok", "answer")
            os.rename(path, path + ".old")  # so that the new one is another file for sure
            if kind == "socket":
                listen(path).close()
            elif kind == "file":
                with open(path, "w", encoding="ascii"):
                    pass
            elif kind == "link":
                os.symlink(path + ".old", path)
            vt.same(h.close(), 0, "status")
            vt.same(os.path.lexists(path), kind != "nothing", kind)
            vt.check(os.path.exists(path + ".old"), "the renamed socket was removed")


@vt.test("unlink: bad arguments, each in its own words")
def _():
    path = os.path.join(vt.tmp(), "file")
    with open(path, "w", encoding="ascii"):
        pass
    refused("usage", "volt-helper-unlink")
    refused("it is no socket", "volt-helper-unlink", path)
    refused("No such file", "volt-helper-unlink", path + "x")
    refused("folder '/none/of'", "volt-helper-unlink", "/none/of/these")
    refused("longer than", "volt-helper-unlink", "/" + "x" * 200)


@vt.test("unlink: it is confined while it waits")
def _():
    path = os.path.join(vt.tmp(), "v.sock")
    with listen(path):
        h = Helper("volt-helper-unlink", path)
        with open(f"/proc/{h.proc.pid}/status", encoding="ascii") as f:
            status = dict(line.rstrip("\n").split(":\t", 1) for line in f if ":\t" in line)
        vt.same(status["NoNewPrivs"], "1", "no_new_privs")
        allowed = 1 << 1 | 1 << 3  # CAP_DAC_OVERRIDE, CAP_FOWNER
        for name in "CapPrm", "CapEff", "CapInh":
            vt.same(int(status[name], 16) & ~allowed, 0, name)
        vt.same(len(os.listdir(f"/proc/{h.proc.pid}/fd")), 4, "descriptors")  # the folder, too
        vt.same(h.close(), 0, "status")


@vt.test("helpers by hand: a message, and no harm")
def _():
    for name in "volt-helper-unlink", "volt-helper-macvtap":
        r = subprocess.run([os.path.join(HELPERS, name)], stdin=subprocess.DEVNULL, text=True,
                           stdout=subprocess.PIPE, stderr=subprocess.PIPE, check=False, timeout=20)
        vt.same(r.returncode, 1, "status")
        vt.check("started by volt-vmm" in r.stderr and "usage" in r.stderr, r.stderr)


def in_namespace(script):
    """Runs Python in a network namespace of its own, with `Helper`, `vt`, `ip()` and v0-v1 there."""
    if os.geteuid() != 0:
        raise vt.Skip("needs root, for network namespaces")
    head = textwrap.dedent(f"""\
        import ctypes, os, signal, subprocess, sys
        sys.path[:0] = {[os.path.dirname(__file__), os.path.join(vt.TREE, "tests", "lib")]!r}
        import vt
        from test_helper import *
        def ip(command):
            return subprocess.run(["ip", *command.split()], stderr=subprocess.PIPE,
                                  check=False).returncode == 0
        def free():
            "No other macvtap is on v0: one in passthru mode wants it for itself."
            return ip("link add probe link v0 type macvtap mode passthru") and ip("link del probe")
        def made(*args):
            return Helper("volt-helper-macvtap", "v0", *args)
        if not (ip("link add v0 type veth peer v1") and ip("link set v0 up")
                and ip("link set v1 up") and free()):
            print("this kernel has no veth or no macvtap")
            sys.exit({vt.SKIPPED})
        """)
    r = subprocess.run(["unshare", "--net", sys.executable, "-c", head + textwrap.dedent(script)],
                       stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False)
    if r.returncode == vt.SKIPPED:
        raise vt.Skip(r.stdout.strip())
    vt.same(r.returncode, 0, r.stdout)


@vt.test("macvtap: it lives as long as its descriptors, and the helper does not", timeout=120)
def _():
    in_namespace("""
        for i in range(5):
            h = made("bridge", "02:00:00:00:00:01", "1400")
            vt.same((h.answer, len(h.fds)), ("0 ok", 2), "answer")
            vt.same(h.proc.wait(timeout=20), 0, "status")
            vt.check(not free(), "it is gone though its descriptors are open")
            os.close(h.fds.pop(i % 2))  # either of them holds it
            vt.check(not free(), "it is gone with one descriptor")
            h.close()
            vt.until(free, "the macvtap is gone", 20)
        """)


@vt.test("macvtap: SIGKILL leaves nothing, and the next start works", timeout=120)
def _():
    in_namespace("""
        for i in range(5):
            r, w = os.pipe()
            pid = os.fork()
            if pid == 0:
                h = made("bridge", "02:00:00:00:00:01", "0")
                os.write(w, h.answer.encode())
                signal.pause()
            vt.same(os.read(r, 100), b"0 ok", "answer")
            vt.check(not free(), "there is no macvtap")
            os.kill(pid, signal.SIGKILL)
            os.waitpid(pid, 0)
            vt.until(free, "the macvtap is gone", 20)
        """)


@vt.test("macvtap: every mode, each at once after the one before", timeout=60)
def _():
    in_namespace("""
        for mode in ("bridge", "vepa", "private", "passthru") * 5:
            h = made(mode, "02:00:00:00:00:01", "0")
            vt.same((h.answer, len(h.fds)), ("0 ok", 2), mode)
            h.close()
        """)


@vt.test("macvtap: a container's /dev without its node")
def _():
    in_namespace("""
        libc = ctypes.CDLL(None, use_errno=True)
        vt.same(libc.unshare(0x00020000), 0, "unshare(CLONE_NEWNS)")
        subprocess.run("mount --make-rprivate / && mount -t tmpfs none /dev", shell=True, check=True)
        h = made("bridge", "02:00:00:00:00:01", "0")
        vt.same((h.answer, len(h.fds)), ("0 ok", 2), "answer")
        vt.same(os.listdir("/dev"), [], "what is left in /dev")
        h.close()
        """)


@vt.test("macvtap: what is wrong, each in its own words", timeout=60)
def _():
    in_namespace("""
        mac = "02:00:00:00:00:01"
        refused("there is no link of that name", "volt-helper-macvtap", "none", "bridge", mac, "0")
        refused("no Ethernet link", "volt-helper-macvtap", "lo", "bridge", mac, "0")
        refused("the parent's MTU is 1500", "volt-helper-macvtap", "v0", "bridge", mac, "9000")
        refused("unknown mode", "volt-helper-macvtap", "v0", "hub", mac, "0")
        refused("is no MAC", "volt-helper-macvtap", "v0", "bridge", "02:00:00:00:00:0g", "0")
        refused("is no MAC", "volt-helper-macvtap", "v0", "bridge", mac + ":02", "0")
        refused("is no MTU", "volt-helper-macvtap", "v0", "bridge", mac, "x")
        refused("at most 15", "volt-helper-macvtap", "v" * 16, "bridge", mac, "0")
        vt.check(ip("link set v0 address " + mac), "ip")
        refused("address of the guest is in use", "volt-helper-macvtap", "v0", "bridge", mac, "0")
        vt.check(ip("link add br0 type bridge"), "ip")
        vt.until(lambda: ip("link set v0 master br0"), "the macvtap that was refused is gone")
        refused("port of a bridge", "volt-helper-macvtap", "v0", "bridge", mac, "0")
        """)
