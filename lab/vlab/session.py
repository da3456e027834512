# SPDX-License-Identifier: Apache-2.0
"""One command in the lab, seen from its client: streams, terminal, signals, exit status.

The socket leads to labd itself (run) or to the broker of a lab that is up (exec); both speak frames.
"""
import contextlib
import fcntl
import os
import select
import signal
import stat
import struct
import sys
import termios
import time
import tty

from . import LabError, wire

CHAN = 1
FORWARDED = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT, signal.SIGUSR1,
             signal.SIGUSR2)
GIVE_UP = 3  # this many SIGINT or SIGTERM end the client, whatever the command does
KEEP = ("PATH", "HOME", "TERM", "LANG", "LANGUAGE", "USER", "LOGNAME", "SHELL", "TZ", "TMPDIR", "CI",
        "CC", "CFLAGS", "LDFLAGS", "COLORTERM", "NO_COLOR", "PAGER", "EDITOR", "SOURCE_DATE_EPOCH",
        "V", "XDG_CACHE_HOME", "ASAN_OPTIONS", "UBSAN_OPTIONS", "TSAN_OPTIONS", "LSAN_OPTIONS")
KEEP_PREFIX = ("VOLT_", "CI_", "LC_", "GITHUB_", "MESON_", "PYTHON")
SBIN = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"


def environment(extra=()):
    """What the command sees of our environment. VOLT_LAB names a lab out here, where it ends."""
    env = {k: v for k, v in os.environ.items() if k in KEEP or k.startswith(KEEP_PREFIX)}
    env.pop("VOLT_LAB", None)
    env.setdefault("PATH", SBIN)
    env.setdefault("HOME", "/root")
    env["VOLT_IN_LAB"] = "1"
    for item in extra:
        name, eq, value = item.partition("=")
        if not eq:
            value = os.environ.get(name, "")
        env[name] = value
    return {os.fsencode(k): os.fsencode(v) for k, v in env.items()}


def _isatty(fd):
    try:
        return os.isatty(fd)
    except OSError:
        return False


def _winsize(fd):
    try:
        return struct.unpack("<HHHH", fcntl.ioctl(fd, termios.TIOCGWINSZ, b"\0" * 8))[:2]
    except OSError:
        return (24, 80)


class Output:
    """Bytes that wait for one of our descriptors. Never blocks on a pipe that nobody reads."""

    def __init__(self, fd, stream):
        self.fd, self.stream, self.data = fd, stream, bytearray()
        try:
            self.regular = stat.S_ISREG(os.fstat(fd).st_mode)
        except OSError:
            self.regular = False

    def flush(self):
        n = os.write(self.fd, self.data if self.regular else self.data[:select.PIPE_BUF])
        del self.data[:n]
        return n


class Session:
    def __init__(self, sock, reader=None, timeout=None):
        self.sock, self.reader = sock, reader or wire.Reader()
        self.out = bytearray()  # to the lab
        self.window = wire.WINDOW  # how much stdin the lab will take
        self.deadline = time.monotonic() + timeout if timeout else None
        self.timeout = timeout
        self.stdin_open = True
        self.status = None
        self.signals = {}
        self.is_tty = _isatty(0)
        outputs = {wire.STDOUT: Output(1, 1), wire.STDERR: Output(2, 2), wire.TTYOUT: Output(0, 3)}
        if self.is_tty and _isatty(1):
            outputs[wire.TTYOUT].fd = 1
        self.outputs = outputs

    def run(self, argv, env, flags=0):
        """Runs the command to its end; returns its exit status."""
        size = (24, 80)
        if self.is_tty:
            size = _winsize(0)
            flags |= wire.TTY_IN | (wire.TTY_OUT if _isatty(1) else 0)
            flags |= wire.TTY_ERR if _isatty(2) else 0
        try:
            cwd = os.fsencode(os.getcwd())
        except OSError as e:
            raise LabError("the current directory no longer exists; change to another one") from e
        self.out += wire.start(CHAN, flags, size, cwd, [os.fsencode(a) for a in argv], env)
        with self._signals() as wakeup, self._raw_terminal():
            self._loop(wakeup)
        return self.status

    @contextlib.contextmanager
    def _raw_terminal(self):
        if not self.is_tty:
            yield
            return
        saved = termios.tcgetattr(0)
        try:
            tty.setraw(0)
            yield
        finally:
            termios.tcsetattr(0, termios.TCSADRAIN, saved)

    @contextlib.contextmanager
    def _signals(self):
        """Signals become bytes on a pipe."""
        rd, wr = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
        wanted = [*FORWARDED, signal.SIGWINCH] if self.is_tty else list(FORWARDED)
        old = {s: signal.getsignal(s) for s in wanted}
        for s in wanted:
            if old[s] != signal.SIG_IGN:
                signal.signal(s, lambda *_: None)
        previous = signal.set_wakeup_fd(wr, warn_on_full_buffer=False)
        try:
            yield rd
        finally:
            signal.set_wakeup_fd(previous)
            for s, handler in old.items():
                signal.signal(s, handler)
            os.close(rd)
            os.close(wr)

    def _loop(self, wakeup):
        while self.status is None or any(o.data for o in self.outputs.values()):
            poll = select.poll()
            poll.register(wakeup, select.POLLIN)
            live = self.status is None
            if live:
                poll.register(self.sock, select.POLLIN | (select.POLLOUT if self.out else 0))
                if self.stdin_open and self.window > 0 and len(self.out) < wire.WINDOW:
                    poll.register(0, select.POLLIN)
            for o in self.outputs.values():
                if o.data and not o.regular:
                    poll.register(o.fd, select.POLLOUT | (select.POLLIN if o.fd == 0 and live else 0))
            wait = None
            if self.deadline is not None:
                wait = max(0, self.deadline - time.monotonic()) * 1000
            if any(o.data and o.regular for o in self.outputs.values()):
                wait = 0
            events = dict(poll.poll(wait))
            if self.deadline is not None and time.monotonic() >= self.deadline:
                raise TimeoutError
            self._dispatch(events, wakeup)

    def _dispatch(self, events, wakeup):
        if wakeup in events:
            self._on_signals(os.read(wakeup, 64))
        for o in self.outputs.values():
            hit = events.get(o.fd, 0) & (select.POLLOUT | select.POLLERR | select.POLLHUP)
            if o.data and (o.regular or hit):
                n = o.flush()
                if self.status is None:
                    self.out += wire.credit(CHAN, o.stream, n)
        got = events.get(self.sock.fileno(), 0)
        if got & select.POLLOUT:
            with contextlib.suppress(BlockingIOError):
                n = self.sock.send(self.out)
                del self.out[:n]
        if got & ~select.POLLOUT:
            self._on_frames(self.sock.recv(262144))
        if self.status is None and events.get(0, 0) & ~select.POLLOUT and self.stdin_open:
            self._on_stdin()

    def _on_stdin(self):
        try:
            data = os.read(0, min(self.window, wire.PAYLOAD_MAX))
        except OSError:
            data = b""
        if not data:
            self.stdin_open = False
        self.window -= len(data)
        self.out += wire.frame(CHAN, wire.STDIN, data)

    def _on_frames(self, data):
        if not data:
            raise ConnectionError
        for _, kind, payload in self.reader.feed(data):
            if kind in self.outputs:
                self.outputs[kind].data += payload
            elif kind == wire.CREDIT:
                self.window += struct.unpack("<II", payload)[1]
            elif kind == wire.EXIT:
                self.status = struct.unpack("<I", payload)[0]
            elif kind == wire.FAIL:
                self.status = struct.unpack_from("<I", payload)[0]
                text = payload[4:].decode(errors="replace")
                self.outputs[wire.STDERR].data += f"volt-lab: {text}\n".encode()

    def _on_signals(self, numbers):
        for n in numbers:
            if n == signal.SIGWINCH:
                self.out += wire.frame(CHAN, wire.WINSIZE, struct.pack("<HH", *_winsize(0)))
                continue
            self.out += wire.frame(CHAN, wire.SIGNAL, struct.pack("<I", n))
            self.signals[n] = self.signals.get(n, 0) + 1
            if n in (signal.SIGINT, signal.SIGTERM) and self.signals[n] >= GIVE_UP:
                raise KeyboardInterrupt(n)


def finish(run):
    """Runs run() and turns what ends a client early into an exit status."""
    try:
        return run()
    except KeyboardInterrupt as e:
        return 128 + (int(e.args[0]) if e.args else signal.SIGINT)
    except BrokenPipeError:
        with contextlib.suppress(OSError):
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 128 + signal.SIGPIPE
