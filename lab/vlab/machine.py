# SPDX-License-Identifier: Apache-2.0
"""The emulated host: QEMU's command line, its start, its log, its end."""
import contextlib
import ctypes
import os
import re
import select
import shutil
import signal
import socket
import struct
import subprocess
import time

from . import LabError, cache, wire

BOOT_TIMEOUT = float(os.environ.get("VOLT_LAB_BOOT_TIMEOUT", "180"))
# family: the 15 of "max" has an erratum whose workaround makes every idle CPU use a broadcast timer.
# xsave: TCG does not let KVM see a guest's XSETBV, so that KVM shows it sizes for another XCR0 and its
# kernel warns ("XSAVE consistency problem").
CPU = "max,family=23,model=49,stepping=0,-xsave"
# Measured reasons for each are in lab/README.md.
CMDLINE = ("console=ttyS0 loglevel=5 panic=-1 oops=panic tsc=reliable no_timer_check mitigations=off "
           "random.trust_cpu=on 8250.nr_uarts=1 i8042.noprobe=1 nokaslr audit=0 apparmor=0 "
           "rcupdate.rcu_cpu_stall_timeout=120 nmi_watchdog=0 rodata=off cryptomgr.notests=1")
ROOTOPTS = "trans=virtio,version=9p2000.L,msize=512000,cache=loose"


def _quote(value):
    """QEMU's option syntax doubles commas."""
    return value.replace(",", ",,")


def _die_with_parent():
    ctypes.CDLL(None).prctl(1, signal.SIGKILL)  # PR_SET_PDEATHSIG
    os.setpgid(0, 0)  # Ctrl-C is for the command, not for the machine


class Machine:
    """A lab. opts: cpus, mem, icount, forward [(host, lab)], rw [dirs]; qemu: of qemu.find()."""

    def __init__(self, opts, workdir, qemu):
        self.opts, self.dir, self.qemu = opts, workdir, qemu
        self.log = os.path.join(workdir, "console.log")
        self.errors = os.path.join(workdir, "qemu.log")
        self.sock = self.proc = None
        self.reader = wire.Reader()

    def _config(self, k, stems):
        rec = [f"mod={m}" for m in stems["mod"]] + [f"late={m}" for m in stems["late"]]
        rec += [f"moddir={k.moddir}", f"rootopts={ROOTOPTS}"]
        if self.opts.forward:
            rec += [f"late={m}" for m in stems["net"]] + ["net=1"]
        rec += [f"rw={d}" for d in self.opts.rw]
        text = b"".join(os.fsencode(r) + b"\0" for r in rec)
        if len(text) > 60000:
            raise LabError("too many --rw directories")
        return cache.cpio([("lab.conf", 0o100644, text)])

    def _command(self, k, initrd, fd):
        o = self.opts
        accel = "tcg,thread=single" if o.icount else "tcg,thread=multi"
        cmd = [*self.qemu.argv, "-M", "q35,usb=off,sata=off,smbus=off,vmport=off,hpet=off",
               "-accel", accel, "-cpu", CPU, "-smp", str(o.cpus), "-m", str(o.mem),
               "-nodefaults", "-no-user-config",
               "-display", "none", "-no-reboot", "-name", "volt-lab",
               "-chardev", f"file,id=log,path={_quote(self.log)}", "-serial", "chardev:log",
               "-chardev", f"socket,id=ctl,fd={fd}",
               "-device", "virtio-serial-pci,max_ports=2",
               "-device", "virtserialport,chardev=ctl,name=volt-lab",
               "-device", "virtio-rng-pci",
               "-fsdev", "local,id=root,path=/,security_model=none,readonly=on,multidevs=remap",
               "-device", "virtio-9p-pci,fsdev=root,mount_tag=host",
               "-kernel", k.image, "-initrd", initrd, "-append", CMDLINE]
        if o.icount:
            cmd += ["-icount", "shift=0,sleep=off"]
        for i, d in enumerate(o.rw):
            cmd += ["-fsdev", f"local,id=rw{i},path={_quote(d)},security_model=none,multidevs=remap",
                    "-device", f"virtio-9p-pci,fsdev=rw{i},mount_tag=rw{i}"]
        if o.forward:
            fwd = "".join(f",hostfwd=tcp:127.0.0.1:{h}-:{g}" for h, g in o.forward)
            cmd += ["-netdev", f"user,id=net,restrict=on{fwd}",
                    "-device", "virtio-net-pci,netdev=net,romfile="]
        return cmd

    def start(self):
        """Boots; returns when the lab answers."""
        k = cache.kernel()
        base, stems = cache.initramfs(k)
        initrd = os.path.join(self.dir, "initrd")
        shutil.copyfile(base, initrd)
        with open(initrd, "ab") as f:
            f.write(self._config(k, stems))
        self.sock, peer = socket.socketpair()
        with open(self.errors, "wb") as err:
            self.proc = subprocess.Popen(
                self._command(k, initrd, peer.fileno()), stdin=subprocess.DEVNULL, stdout=err,
                stderr=err, pass_fds=[peer.fileno()], preexec_fn=_die_with_parent, cwd="/")
        peer.close()
        self._wait_hello()
        os.unlink(initrd)
        if not self.opts.icount:  # a clock step would make its time irreproducible
            self.sock.sendall(wire.frame(0, wire.TIME, struct.pack("<Q", time.time_ns())))

    def _wait_hello(self):
        end = time.monotonic() + BOOT_TIMEOUT
        while True:
            ready, _, _ = select.select([self.sock], [], [], max(0, end - time.monotonic()))
            if not ready:
                raise LabError(self.postmortem(f"the lab did not boot within {BOOT_TIMEOUT:g} s",
                                               "set VOLT_LAB_BOOT_TIMEOUT higher on a slow machine"))
            data = self.sock.recv(65536)
            if not data:
                raise LabError(self.postmortem("the lab died while it booted"))
            for _, kind, payload in self.reader.feed(data):
                version = struct.unpack("<I", payload)[0] if kind == wire.HELLO else None
                if version != wire.VERSION:
                    raise LabError(f"the lab speaks version {version}, not {wire.VERSION}")
                return

    def postmortem(self, what, advice=None):
        """One message on why the machine is gone, with the ends of its logs."""
        with contextlib.suppress(subprocess.TimeoutExpired):
            if self.proc.wait(timeout=0.5) is not None:
                what += f" (QEMU ended with status {self.proc.returncode})"
        text = what + (f"; {advice}" if advice else "")
        for title, path, lines in (("QEMU said", self.errors, 5), ("end of its kernel log", self.log, 15)):
            with contextlib.suppress(OSError):
                with open(path, encoding="utf-8", errors="replace") as f:
                    said = f.read().strip().splitlines()
                tail = said[-lines:]
                tail[:0] = [t for t in said[:-lines] if re.search(r"BUG:|panic|volt-lab:", t)][:3]
                if tail:
                    text += f"\n{title}:\n" + "\n".join("    " + t for t in tail)
        return text

    def stop(self):
        """Flushes the read-write directories and ends QEMU. Safe at any time, any number of times."""
        if not self.proc:
            return
        if self.proc.poll() is None and self.opts.rw:
            with contextlib.suppress(OSError, ValueError):
                self.sock.settimeout(5)
                self.sock.sendall(wire.frame(0, wire.POWEROFF))
                while self.sock.recv(65536):
                    pass
        if self.proc.poll() is None:
            self.proc.kill()
        self.proc.wait()
        self.sock.close()
