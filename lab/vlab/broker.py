# SPDX-License-Identifier: Apache-2.0
"""A lab that stays up: its state directory, the daemon that owns it, and how clients reach it.

The daemon owns QEMU and a unix socket (0600 in a 0700 directory). Each connection is one command: its
frames get a channel number of their own and go to labd; when the connection ends, so does the command.
"""
import contextlib
import fcntl
import json
import os
import re
import selectors
import shutil
import signal
import socket
import stat
import struct
import time

from . import LabError, qemu, wire
from .machine import Machine


def base_dir():
    """The directory of this user's labs; refuses one that somebody else prepared."""
    path = os.path.join(os.environ.get("XDG_RUNTIME_DIR") or "/tmp", f"volt-lab-{os.getuid()}")
    try:
        with contextlib.suppress(FileExistsError):
            os.mkdir(path, 0o700)
        st = os.lstat(path)
    except OSError as e:
        raise LabError(f"cannot use {path}: {e.strerror}; set XDG_RUNTIME_DIR to a directory of "
                       "yours") from e
    if not stat.S_ISDIR(st.st_mode) or st.st_uid != os.getuid() or st.st_mode & 0o077:
        raise LabError(f"{path} is not a directory of ours with mode 0700; remove it, or set "
                       "XDG_RUNTIME_DIR to a directory of yours")
    return path


class State:
    """The directory of one named lab. Its lock is held by the daemon as long as it lives."""

    def __init__(self, name):
        if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]{0,31}", name):
            raise LabError(f"'{name}' is no name for a lab; use up to 32 letters, digits, '.', '_', '-'")
        self.name = name
        self.dir = os.path.join(base_dir(), name)
        self.socket = os.path.join(self.dir, "socket")
        if len(self.socket) > 107:
            raise LabError(f"the path {self.socket} is too long for a socket; use a shorter "
                           "XDG_RUNTIME_DIR")

    def _lock(self):
        """The lock's descriptor, or None if a daemon holds it."""
        fd = os.open(os.path.join(self.dir, "lock"), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(fd)
            return None
        return fd

    def alive(self):
        if not os.path.isdir(self.dir):
            return False
        fd = self._lock()
        if fd is None:
            return True
        os.close(fd)
        return False

    def claim(self):
        """Takes the name for a new lab; returns the lock, which the daemon inherits."""
        with contextlib.suppress(FileExistsError):
            os.mkdir(self.dir, 0o700)
        fd = self._lock()
        if fd is None:
            raise LabError(f"the lab '{self.name}' is already up; use 'volt-lab exec', or "
                           "'volt-lab down' first")
        for name in os.listdir(self.dir):
            if name != "lock":
                os.unlink(os.path.join(self.dir, name))
        return fd

    def remove(self):
        shutil.rmtree(self.dir, ignore_errors=True)
        with contextlib.suppress(OSError):
            os.rmdir(os.path.dirname(self.dir))

    def info(self):
        try:
            with open(os.path.join(self.dir, "info.json"), encoding="utf-8") as f:
                return json.load(f)
        except (OSError, ValueError):
            return {}

    def write(self, name, text):
        path = os.path.join(self.dir, name)
        with open(path + ".tmp", "w", encoding="utf-8") as f:
            f.write(text)
        os.rename(path + ".tmp", path)

    def connect(self):
        sock = socket.socket(socket.AF_UNIX)
        try:
            sock.connect(self.socket)
            return sock
        except OSError:
            sock.close()
        if self.alive():
            raise LabError(f"the lab '{self.name}' is still starting; try again in a moment")
        if not os.path.isdir(self.dir):
            raise LabError(f"no lab '{self.name}' is up; start it with 'volt-lab up"
                           + (f" --name {self.name}'" if self.name != "default" else "'"))
        why = ""
        with contextlib.suppress(OSError):
            with open(os.path.join(self.dir, "died"), encoding="utf-8") as f:
                why = ": " + f.read().strip()
        raise LabError(f"the lab '{self.name}' is dead; 'volt-lab up' starts it anew{why}")


class Client:
    def __init__(self, sock, chan):
        self.sock, self.chan = sock, chan
        self.reader, self.out = wire.Reader(), bytearray()
        self.started = self.ended = self.wants_down = False


class Broker:
    """The daemon's loop. Windows bound what waits for a client; the lab is always read."""

    def __init__(self, machine, listener, lifetime):
        self.machine, self.listener = machine, listener
        self.end = time.monotonic() + lifetime if lifetime else None
        self.lab = machine.sock
        self.lab.setblocking(False)
        self.out = bytearray()
        self.clients, self.next_chan = {}, 1
        self.sel = selectors.DefaultSelector()
        self.sel.register(self.lab, selectors.EVENT_READ, self.on_lab)
        self.sel.register(listener, selectors.EVENT_READ, self.on_connect)
        self.down, self.waiters = False, []

    def loop(self):
        """Returns None after a wanted end, else why the lab is gone."""
        while not self.down:
            wait = None
            if self.end is not None:
                wait = self.end - time.monotonic()
                if wait <= 0:
                    return None
            for key, events in self.sel.select(wait):
                try:
                    key.data(key.fileobj, events)
                except ConnectionError:
                    return self.machine.postmortem("the lab died")
        return None

    def _want(self, sock, out, handler):
        events = selectors.EVENT_READ | (selectors.EVENT_WRITE if out else 0)
        self.sel.modify(sock, events, handler)

    def on_connect(self, listener, _events):
        sock, _ = listener.accept()
        sock.setblocking(False)
        c = Client(sock, self.next_chan)
        self.next_chan += 1
        self.clients[c.chan] = c
        self.sel.register(sock, selectors.EVENT_READ, lambda s, e, c=c: self.on_client(c, e))

    def _drop(self, c):
        self.sel.unregister(c.sock)
        c.sock.close()
        del self.clients[c.chan]
        if c.started and not c.ended:
            self._to_lab(wire.frame(c.chan, wire.ABANDON))

    def _to_lab(self, data):
        self.out += data
        self._want(self.lab, self.out, self.on_lab)

    def _flush(self, c):
        with contextlib.suppress(BlockingIOError):
            n = c.sock.send(c.out)
            del c.out[:n]

    def on_client(self, c, events):
        try:
            if events & selectors.EVENT_WRITE:
                self._flush(c)
            data = c.sock.recv(262144) if events & selectors.EVENT_READ else None
        except OSError:
            data = b""
        if data == b"":
            self._drop(c)
            return
        for _, kind, payload in c.reader.feed(data or b""):
            if kind == wire.POWEROFF:
                self.down = True
            else:
                c.started = True
                self._to_lab(wire.frame(c.chan, kind, payload))
        self._want_client(c)

    def _want_client(self, c):
        self._want(c.sock, c.out, lambda s, e: self.on_client(c, e))

    def on_lab(self, lab, events):
        if events & selectors.EVENT_WRITE:
            with contextlib.suppress(BlockingIOError):
                n = lab.send(self.out)
                del self.out[:n]
            self._want(lab, self.out, self.on_lab)
        if not events & selectors.EVENT_READ:
            return
        data = lab.recv(262144)
        if not data:
            raise ConnectionResetError
        for chan, kind, payload in self.machine.reader.feed(data):
            c = self.clients.get(chan)
            if not c:
                continue
            c.ended = c.ended or kind in (wire.EXIT, wire.FAIL)
            c.out += wire.frame(1, kind, payload)
            self._want_client(c)

    def tell_all(self, text):
        """The lab is gone: every waiting client learns why."""
        payload = struct.pack("<I", 125) + text.encode()[:wire.PAYLOAD_MAX - 4]
        for c in self.clients.values():
            if c.started and not c.ended:
                c.sock.settimeout(2)
                with contextlib.suppress(OSError):
                    c.sock.sendall(c.out + wire.frame(1, wire.FAIL, payload))


def _serve(state, opts, which, ready):
    """In the daemon: boots, serves, cleans up."""
    machine = Machine(opts, state.dir, which)
    listener = socket.socket(socket.AF_UNIX)
    old = os.umask(0o177)
    listener.bind(state.socket + ".tmp")
    os.umask(old)
    listener.listen(64)
    signal.signal(signal.SIGTERM, lambda *_: (_ for _ in ()).throw(SystemExit(0)))
    died = None
    try:
        machine.start()
        os.rename(state.socket + ".tmp", state.socket)
        state.write("info.json", json.dumps({
            "pid": os.getpid(), "qemu": machine.proc.pid, "since": int(time.time()),
            "cpus": opts.cpus, "mem": opts.mem, "icount": opts.icount,
            "forward": opts.forward, "rw": opts.rw}))
        os.write(ready, b"ok")
        os.close(ready)
        broker = Broker(machine, listener, opts.timeout)
        died = broker.loop()
        broker.tell_all(died or "the lab was taken down")
        machine.sock.setblocking(True)
    except LabError as e:
        os.write(ready, str(e).encode())
    finally:
        machine.stop()
        if died:
            with contextlib.suppress(OSError):
                os.unlink(state.socket)
            state.write("died", died)
        else:
            state.remove()


def up(name, opts):
    """Starts a named lab and returns when it answers."""
    state = State(name)
    which = qemu.find()  # here, where somebody reads what it says
    lock = state.claim()
    rd, wr = os.pipe()
    pid = os.fork()
    if pid == 0:
        os.close(rd)
        os.setsid()
        if os.fork():
            os._exit(0)
        code = 1
        try:
            os.chdir("/")
            null = os.open(os.devnull, os.O_RDWR)
            for fd in (0, 1, 2):
                os.dup2(null, fd)
            _serve(state, opts, which, wr)
            code = 0
        finally:
            os._exit(code)
    os.waitpid(pid, 0)
    os.close(wr)
    os.close(lock)
    answer = b""
    while chunk := os.read(rd, 65536):
        answer += chunk
    if answer != b"ok":
        raise LabError(answer.decode(errors="replace") or f"the daemon of the lab '{name}' ended early")


def down(name):
    """Ends a lab; True if there was one."""
    state = State(name)
    if not os.path.isdir(state.dir):
        return False
    pid = state.info().get("pid")
    with contextlib.suppress(OSError, LabError):
        sock = state.connect()
        sock.settimeout(15)
        sock.sendall(wire.frame(0, wire.POWEROFF))
        while sock.recv(65536):
            pass
    end = time.monotonic() + 5
    while state.alive() and time.monotonic() < end:
        time.sleep(0.02)
    if pid and state.alive():  # the lock proves that this is still our daemon
        os.kill(pid, signal.SIGKILL)
        while state.alive():
            time.sleep(0.02)
    state.remove()
    return True
