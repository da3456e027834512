#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""Measures all contestants in turn: boots, memory, disk I/O, network. Runs where KVM guests run.

    bench/measure.py SETUP.json RAW.jsonl

bench/run writes SETUP.json. This is one long-lived program because under emulation an interpreter
takes long to start. It appends one JSON line a run to RAW.jsonl and computes nothing that could
be computed later. Status 1: a contestant did not boot.
"""
import ctypes
import json
import os
import platform
import select
import shutil
import signal
import struct
import subprocess
import sys
import tempfile
import time

sys.dont_write_bytecode = True
sys.path.insert(0, os.path.dirname(os.path.realpath(__file__)))

import contestant as contestants  # noqa: E402
import fiojob  # noqa: E402
import netbench  # noqa: E402
import netjob  # noqa: E402
import procfs  # noqa: E402
from tracing import FirstEntry  # noqa: E402

MARK = b"volt-init"
NET_TRIES = 3


class Failed(Exception):
    """A contestant did not do what it must; the text says which and what it printed."""


class Monitor:
    """One process under test: its console comes to us, its standard input stays open and silent."""

    def __init__(self, setup, who, values):
        self.name = who["name"]
        self.argv = contestants.command(who, values)
        program = shutil.which(self.argv[0])
        if not program:
            raise Failed(f"{self.name}: cannot find {self.argv[0]}")
        self.argv[0] = program
        self.console = b""
        self.err = tempfile.TemporaryFile()
        stdin, self.stdin = os.pipe()
        self.stdout, stdout = os.pipe()
        times, time_end = os.pipe()
        dup = os.POSIX_SPAWN_DUP2
        self.pid = os.posix_spawn(
            setup["launch"], ["launch", *self.argv], os.environ,
            file_actions=[(dup, stdin, 0), (dup, stdout, 1), (dup, self.err.fileno(), 2),
                          (dup, time_end, 3)])  # 3 last: until then it may be one of the others
        for fd in (stdin, stdout, time_end):
            os.close(fd)
        self.exec_ns = struct.unpack("<Q", os.read(times, 8))[0]
        os.close(times)
        self.status = None

    def wait_for(self, text, seconds):
        """Reads the console until `text`; returns (time of arrival, CPU time used), both in ns."""
        end = time.monotonic() + seconds
        while True:
            left = end - time.monotonic()
            ready = select.select([self.stdout], [], [], max(0, left))[0]
            now = time.monotonic_ns()
            cpu = procfs.cpu_ns(self.pid)
            if not ready:
                raise Failed(f"{self.name}: no {text!r} within {seconds:g} s\n{self.story()}")
            chunk = os.read(self.stdout, 65536)
            if not chunk:
                raise Failed(f"{self.name}: ended before {text!r}\n{self.story()}")
            # The guest's terminal puts CR before LF.
            self.console += chunk.replace(b"\r", b"")
            if text in self.console:
                return now, cpu

    def errors(self):
        self.err.seek(0)
        return self.err.read().decode(errors="replace")

    def story(self):
        console = self.console.decode(errors="replace")
        return (f"command: {' '.join(self.argv)}\nconsole:\n{console[-2000:]}\n"
                f"stderr:\n{self.errors()[-2000:]}")

    def _gone(self):
        if self.status is None:
            pid, status = os.waitpid(self.pid, os.WNOHANG)
            self.status = status if pid else None
        return self.status is not None

    def ask(self, seconds=10):
        """SIGTERM until it ends: the second makes volt-vmm stop at once and print its timeline."""
        end = time.monotonic() + seconds
        while not self._gone() and time.monotonic() < end:
            os.kill(self.pid, signal.SIGTERM)
            time.sleep(0.05)

    def close(self):
        if not self._gone():
            os.kill(self.pid, signal.SIGKILL)
            self.status = os.waitpid(self.pid, 0)[1]
        for fd in (self.stdin, self.stdout):
            os.close(fd)
        self.err.close()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()


def timeline(text):
    """volt-vmm's own table: {stage: ms since exec}; {} if there is none."""
    found, inside = {}, False
    for line in text.splitlines():
        words = line.split()
        if words[:1] == ["timeline"]:
            inside = True
        elif inside and words[:1] == ["total"]:
            break
        elif inside and len(words) >= 3:
            found[" ".join(words[:-2])] = float(words[-1])
    return found


class Bench:
    def __init__(self, setup, out):
        self.setup, self.out, self.trace = setup, out, FirstEntry()
        self.work = tempfile.mkdtemp(prefix="volt-bench-", dir="/dev/shm")
        self.values = {"mem": str(setup["mem"]), "cpus": str(setup["cpus"]),
                       "start_us": "@START_US@"}

    def write(self, kind, **fields):
        line = {"type": kind, "load": os.getloadavg()[0], **fields}
        self.out.write(json.dumps(line, sort_keys=True) + "\n")
        self.out.flush()

    def prepare(self):
        """Puts all that a contestant reads into memory: the first must not pay for the others."""
        for key in ("kernel", "initrd", "disk", "net_disk"):
            if self.setup.get(key):
                path = os.path.join(self.work, key)
                copy_sparse(self.setup[key], path)
                self.values[key] = path
        with open("/proc/cpuinfo", encoding="ascii") as f:
            cpu = next((x.split(":")[1].strip() for x in f if x.startswith("model name")), "")
        self.write("meta", kernel=platform.release(), cpu=cpu, cpus=os.cpu_count(),
                   setup=self.setup, first_entry=self.trace.note, guest_ram=procfs.GUEST_RAM_RULE,
                   thp=procfs.read("/sys/kernel/mm/transparent_hugepage/enabled"))

    def boot_values(self, who, io=None):
        cmdline = "console=ttyS0 quiet reboot=t panic=-1 root=/dev/vda ro volt.mark"
        return dict(self.values, cmdline=cmdline, io=who["engines"][0] if io is None else io)

    def boot(self, who, number, weigh, warm_up=False):
        """One boot to init. weigh: then wait for the guest to be idle, and look at its memory."""
        self.trace.arm()
        with Monitor(self.setup, who, self.boot_values(who)) as m:
            init_ns, cpu_ns = m.wait_for(MARK, self.setup["boot_timeout"])
            threads = procfs.threads_ns(m.pid)
            entry_ns = self.trace.read()
            memory = self.weigh(m) if weigh else None
            if who["end"] == "term":
                m.ask()
            stages = timeline(m.errors())
            if not warm_up:
                self.write("boot", contestant=who["name"], number=number, exec_ns=m.exec_ns,
                           entry_ns=entry_ns, init_ns=init_ns, cpu_ns=cpu_ns, threads_ns=threads,
                           memory=memory, timeline=stages, argv=m.argv)
            ms = (init_ns - m.exec_ns) / 1e6
        say(f"boot {number or 'warm-up'} {who['name']}: init after {ms:.0f} ms"
            + (f", {memory['overhead_pss_kib']} KiB beside guest memory" if memory else ""))

    def weigh(self, m):
        procfs.settle(m.pid)
        return procfs.memory(m.pid, self.setup["mem"] * 1024)

    def boots(self):
        everyone = self.setup["contestants"]
        for who in everyone if self.setup["runs"] > 1 else []:
            self.boot(who, 0, False, warm_up=True)
        for i in range(self.setup["runs"]):
            # Who comes first changes: A B, B A, ...
            for who in everyone[i % len(everyone):] + everyone[:i % len(everyone)]:
                self.boot(who, i + 1, i < self.setup["memory_runs"])

    def many(self):
        """Several VMs at once: what they share is then divided by all of them."""
        count = self.setup["many"]
        need = count * (self.setup["mem"] + 40)
        if count and procfs.available_mib() < need:
            say(f"{count} VMs at once: left out, they may need {need} MiB")
            self.write("many-skipped", count=count, need_mib=need)
            return
        for who in self.setup["contestants"] if count else []:
            running = []
            try:
                for _ in range(count):
                    running.append(Monitor(self.setup, who, self.boot_values(who)))
                    running[-1].wait_for(MARK, self.setup["boot_timeout"])
                memory = [self.weigh(m) for m in running]
            finally:
                for m in running:
                    m.close()
            self.write("many", contestant=who["name"], count=count, memory=memory)
            mean = sum(x["overhead_pss_kib"] for x in memory) / count
            say(f"{count} at once {who['name']}: {mean:.0f} KiB each beside guest memory")

    def fio_once(self, who, io, number):
        fio = self.setup["fio"]
        values = self.boot_values(who, io)
        values.update(scratch=os.path.join(self.work, "scratch"),
                      script=os.path.join(self.work, "script"), mem=str(fio["mem"]))
        values["cmdline"] += " volt.script=/dev/vdc"
        limit = self.setup["boot_timeout"] + 10 * (fio["seconds"] + fio["ramp"])
        with Monitor(self.setup, who, values) as m:
            m.wait_for(MARK, limit)
            for job in fiojob.JOBS:
                begin = m.wait_for(fiojob.BEGIN + job.encode() + b"\n", limit)
                end = m.wait_for(fiojob.END + job.encode() + b"\n", limit)
                try:
                    result = fiojob.parse(m.console, job)
                except ValueError as e:
                    raise Failed(f"{who['name']}: {e}\n{m.story()}") from e
                self.write("fio", contestant=who["name"], io=io, number=number, job=job,
                           wall_ns=end[0] - begin[0], cpu_ns=end[1] - begin[1], **result)
                say(f"fio {number} {who['name']} {io} {job}: {result['iops']:.0f} IOPS")

    def fio(self):
        fio = self.setup["fio"]
        if not fio["repeats"]:
            return
        with open(os.path.join(self.work, "scratch"), "wb") as f:
            block = os.urandom(1 << 20)
            for _ in range(fio["size_mib"]):
                f.write(block)
        with open(os.path.join(self.work, "script"), "wb") as f:
            f.write(fiojob.script(fio["seconds"], fio["ramp"]))
        everyone = [(who, io) for who in self.setup["contestants"] for io in who["engines"]
                    if "{scratch}" in who["template"]]
        # Engines alternate between contestants: A1 B1 A2 B2.
        everyone.sort(key=lambda w: w[0]["engines"].index(w[1]))
        for i in range(fio["repeats"]):
            at = i % len(everyone)
            for who, io in everyone[at:] + everyone[:at]:
                self.fio_once(who, io, i + 1)

    def net_once(self, who, path, number):
        net = self.setup["net"]
        values = self.boot_values(who)
        values.update(disk=values["net_disk"], script=os.path.join(self.work, "net-script"),
                      mem=str(net["mem"]), tap=netjob.TAP, mac=netjob.MAC, cid=str(netjob.CID),
                      vhost="on" if path == "vhost" else "off",
                      vsock=os.path.join(self.work, "vsock"))
        # An empty disk, so that the script is the third one as in the disk tests.
        values["scratch"] = os.path.join(self.work, "net-scratch")
        values["cmdline"] += " volt.script=/dev/vdc"
        with Monitor(self.setup, who, values) as m:
            m.wait_for(netjob.READY, self.setup["boot_timeout"])
            guest = netbench.Guest(m, net, values)
            for job in netbench.jobs(path):
                result = self.net_job(who, path, job, guest)
                self.write("net", contestant=who["name"], path=path, number=number, job=job,
                           **result)
                rate = (f"{result['p50_ns'] / 1000:.0f} us" if job == "rr" else
                        f"{result['amount'] / result['seconds']:.0f} a second")
                say(f"net {number} {who['name']} {path} {job}: {rate}")

    def net_job(self, who, path, job, guest):
        """A job whose tool failed (iperf3's server may be at the last test's end) is begun again."""
        for left in reversed(range(NET_TRIES)):
            try:
                return guest.run(job)
            except (ValueError, subprocess.TimeoutExpired) as e:
                if not left:
                    raise Failed(f"{who['name']} {path} {job}: {e}\n{guest.m.story()}") from e
                self.write("net-failed", contestant=who["name"], path=path, job=job, why=str(e))
                say(f"net {who['name']} {path} {job}: once more: {e}")

    def net(self):
        net = self.setup["net"]
        if not net["repeats"]:
            return
        why = netbench.prepare(net, self.work)
        if why:
            say(f"network tests: left out, {why}")
            self.write("net-skipped", reason=why)
            return
        everyone = [(who, path) for path in netbench.PATHS for who in self.setup["contestants"]
                    if "{tap}" in who["template"]]
        for i in range(net["repeats"]):
            at = i % len(everyone)
            for who, path in everyone[at:] + everyone[:at]:
                self.net_once(who, path, i + 1)

    def run(self):
        try:
            self.prepare()
            self.boots()
            self.many()
            self.fio()
            self.net()  # last: it leaves the machine's network behind
        finally:
            self.trace.done()
            shutil.rmtree(self.work, ignore_errors=True)


def copy_sparse(source, target):
    """Copies only the data of a file with holes."""
    with open(source, "rb") as src, open(target, "wb") as dst:
        size, at = os.fstat(src.fileno()).st_size, 0
        dst.truncate(size)
        while at < size:
            block = src.read(1 << 20)
            if block.count(0) != len(block):
                dst.seek(at)
                dst.write(block)
            at += len(block)


def say(text):
    print(text, flush=True)


def main():
    setup_path, raw_path = sys.argv[1:]
    ctypes.CDLL(None).prctl(1, signal.SIGKILL)  # PR_SET_PDEATHSIG: not to outlive bench/run
    with open(setup_path, encoding="utf-8") as f:
        setup = json.load(f)
    with open(raw_path, "a", encoding="utf-8") as out:
        try:
            Bench(setup, out).run()
        except Failed as e:
            print(f"bench: {e}", file=sys.stderr)
            return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
