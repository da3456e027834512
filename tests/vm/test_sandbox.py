# SPDX-License-Identifier: Apache-2.0
"""The monitor is confined: seccomp in every thread, Landlock, no privileges to gain."""
import glob
import os
import subprocess

import vt
from vmm import BAD_SYSCALL, BUILD, disk, guest, payload


def _running(*args, cpus=2, **kw):
    g = guest("end", *args, cpus=cpus, disks=[disk()], cmdline="end=4", **kw)
    g.wait_for("ready")
    return g


def _inject(g, thread, path, flags=0):
    """openat(AT_FDCWD, path) in a thread of the running monitor, by a debugger that rewrites its
    registers; returns the result, or None if the process ended."""
    tid = g.threads()[thread]["tid"]
    # The thread is stopped at an arbitrary place, often in a system call: put it on a syscall
    # instruction of libc with our arguments and step over that.
    script = os.path.join(vt.tmp(), "inject.py")
    with open(script, "w", encoding="ascii") as f:
        f.write(f"""
import gdb
gdb.execute("set confirm off")
gdb.execute("set pagination off")
gdb.execute("handle SIGSYS nostop noprint pass")
inf = gdb.selected_inferior()
code = None
for t in inf.threads():
    if t.ptid[1] == {tid}:
        t.switch()
gdb.execute("set scheduler-locking on")
sp = int(gdb.parse_and_eval("$rsp")) & 0xffffffffffffffff
buf = (sp - 4096) & ~0xf
inf.write_memory(buf, {path!r}.encode() + b"\\0")
start = int(gdb.parse_and_eval("(long)&syscall")) & 0xffffffffffffffff
at = bytes(inf.read_memory(start, 64)).find(b"\\x0f\\x05")
assert at >= 0, "no syscall instruction in syscall()"
gdb.execute("set $orig_rax = -1")
for reg, value in (("rax", 257), ("rdi", -100), ("rsi", buf), ("rdx", {flags}), ("r10", 0),
                   ("rip", start + at)):
    gdb.execute("set $%s = %d" % (reg, value))
try:
    gdb.execute("stepi")
    print("RESULT", int(gdb.parse_and_eval("(long)$rax")))
except gdb.error as e:
    print("GONE", e)
if inf.pid:
    gdb.execute("kill")
""")
    r = subprocess.run(["gdb", "-q", "-nx", "-batch", "-p", str(g.pid), "-x", script],
                       stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                       text=True, check=False, timeout=60 * vt.FACTOR)
    for line in r.stdout.splitlines():
        if line.startswith("RESULT"):
            return int(line.split()[1])
    return None if g.proc.poll() is not None else vt.check(False, r.stdout)


@vt.test("every thread is under seccomp, can gain no privileges and has its name")
def _():
    g = _running(cpus=3)
    # KVM itself adds a kernel thread, kvm-nx-lpage-recovery, to the first VM's process.
    threads = {k: v for k, v in g.threads().items() if not k.startswith("kvm-nx-lpage")}
    vt.same(sorted(t for t in threads if t.startswith("vcpu")), ["vcpu 0", "vcpu 1", "vcpu 2"],
            "vCPU threads")
    g.expect(len(threads) == 4, f"threads {sorted(threads)}")
    for name, fields in threads.items():
        vt.same(fields["Seccomp"], "2", f"{name}: Seccomp")
        vt.same(fields["NoNewPrivs"], "1", f"{name}: NoNewPrivs")


@vt.test("inherited descriptors are closed, and few are open")
def _():
    read, write = os.pipe()
    os.set_inheritable(read, True)
    os.set_inheritable(write, True)
    path = payload("end")
    # pass_fds is the honest way to leak a descriptor into the child.
    proc = subprocess.Popen([os.path.join(BUILD, "src/volt-vmm/volt-vmm"), "--kernel", path,
                             "--cmdline", "end=5"], pass_fds=(read, write),
                            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE)
    os.close(write)
    vt.check(b"ready" in proc.stdout.readline(), "not ready")
    vt.same(os.read(read, 1), b"", "end of the pipe that the monitor should have closed")
    names = [os.readlink(f"/proc/{proc.pid}/fd/{n}") for n in os.listdir(f"/proc/{proc.pid}/fd")]
    vt.check(path not in names and "/dev/kvm" not in names, f"still open: {names}")
    proc.kill()


@vt.test("a file outside the configuration: the loop thread's openat ends it with 148", timeout=90)
def _():
    g = _running()
    result = _inject(g, "volt-vmm", "/etc/passwd")
    vt.same(result, None, "result of openat")
    g.wait(BAD_SYSCALL)
    g.expect("openat" in g.err() and "main" in g.err(), "the report lacks the call or the thread")


@vt.test("a file outside the configuration: a vCPU thread's openat ends it with 148", timeout=90)
def _():
    g = _running()
    result = _inject(g, "vcpu 1", "/etc/passwd")
    vt.same(result, None, "result of openat")
    g.wait(BAD_SYSCALL)
    g.expect("openat" in g.err() and "vcpu 1" in g.err(), "the report lacks the call or the thread")


def _landlock():
    try:
        with open("/sys/kernel/security/lsm", encoding="ascii") as f:
            return "landlock" in f.read()
    except OSError:
        r = subprocess.run(["python3", "-c", "import ctypes,sys; sys.exit(ctypes.CDLL(None)"
                            ".syscall(444, 0, 0, 1) < 1)"], check=False)
        return r.returncode == 0


@vt.test("without seccomp, Landlock refuses the file: EACCES", timeout=90)
def _():
    if not _landlock():
        raise vt.Skip("this kernel has no Landlock (or it is not in its list of security modules)")
    g = _running("--no-seccomp")
    vt.same(_inject(g, "volt-vmm", "/etc/passwd"), -13, "result of openat")


@vt.test("--no-seccomp --no-landlock: the file opens, so the tests above prove something",
         timeout=90)
def _():
    g = _running("--no-seccomp", "--no-landlock")
    vt.check(_inject(g, "volt-vmm", "/etc/passwd") >= 0, "openat failed")
    g = _running("--no-seccomp", "--no-landlock")
    vt.same(g.threads()["volt-vmm"]["Seccomp"], "0", "Seccomp")


@vt.test("a build whose filter lacks one call stops with 148 and names it")
def _():
    found = [p for p in glob.glob(os.path.join(BUILD, "**", "volt-vmm-drop-*"), recursive=True)
             if os.path.isfile(p) and os.access(p, os.X_OK)]
    vt.check(found, "no volt-vmm-drop-* was built")
    for binary in found:
        call = os.path.basename(binary).removeprefix("volt-vmm-drop-")
        g = guest("blk", disks=[disk()], binary=binary).wait(BAD_SYSCALL)
        g.expect(call in g.err(), f"the report does not name {call}")
