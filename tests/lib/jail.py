# SPDX-License-Identifier: Apache-2.0
"""Jails of volt-jailer: starting them, looking at them from outside, and taking them away."""
import json
import contextlib
import glob
import os
import shutil
import signal
import stat
import subprocess

import vt
from vmm import BUILD, payload

JAILER = os.path.join(BUILD, "src", "jailer", "volt-jailer")
ESCAPE = os.path.join(BUILD, "tests", "jail-escape")
FIRECRACKER = os.path.join(BUILD, "src", "volt-vmm", "firecracker")
UID, GID, NOBODY = 61234, 61235, 65534
QUIET = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}  # the program may hold them
STREAMS = {"stdin": subprocess.DEVNULL, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
started = []   # process ids of jailed programs


def base():
    path = os.path.join(vt.tmp(), "jails")
    os.makedirs(path, 0o755, exist_ok=True)
    return path


def root(name, exe=ESCAPE):
    return os.path.join(base(), os.path.basename(exe), name, "root")


def command(name, *flags, exe=ESCAPE, rest=(), uid=UID, gid=GID):
    owner = [] if uid is None else ["--uid", str(uid), "--gid", str(gid)]
    return [JAILER, "--id", name, *owner, "--exec-file", exe, "--chroot-base-dir", base(), *flags,
            "--", *rest]


def needs_root():
    if os.geteuid() != 0:
        raise vt.Skip("needs root, for jails")


def run(name, *flags, status=0, **kw):
    """The jailer to its end; its output, or what it said on stderr if a fault was wanted."""
    needs_root()
    popen = {k: kw.pop(k) for k in ("env", "pass_fds", "preexec_fn", *STREAMS) if k in kw}
    argv = kw.pop("wrap", []) + command(name, *flags, **kw)
    r = subprocess.run(argv, text=True, check=False, timeout=30 * vt.FACTOR, **{**STREAMS, **popen})
    vt.check(r.returncode == status, f"{argv}: status {r.returncode}\n{r.stdout}\n{r.stderr}")
    return r.stderr if status else r.stdout


def refused(words, name, *flags, **kw):
    text = run(name, *flags, status=1, **kw)
    vt.check(words in text and f'Error: Jailer("' in text, f"{words!r} is not in {text!r}")


def jailed(name, *flags, exe=ESCAPE, rest=("wait",), **kw):
    """A daemon in a jail; its process id."""
    run(name, "--daemonize", *flags, exe=exe, rest=rest, **kw)
    return pid_of(name, exe)


def pid_of(name, exe=ESCAPE):
    with open(os.path.join(root(name, exe), os.path.basename(exe) + ".pid"), encoding="ascii") as f:
        started.append(int(f.read()))
    return started[-1]


def kill_started():
    for pid in started:
        try:
            os.kill(pid, signal.SIGKILL)
        except ProcessLookupError:
            pass
    for pid in started:
        vt.until(lambda p=pid: not alive(p), f"{pid} is gone")
    started.clear()


def alive(pid):
    try:
        return status_of(pid)["State"][0] not in "ZX"
    except (FileNotFoundError, ProcessLookupError):
        return False


def status_of(pid):
    with open(f"/proc/{pid}/status", encoding="ascii") as f:
        return dict(line.rstrip("\n").split(":\t", 1) for line in f if ":\t" in line)


def ns_of(pid, kind):
    return os.readlink(f"/proc/{pid}/ns/{kind}")


def forget_cgroups():
    """A run that was killed may have left empty groups, which would be taken for ours."""
    for top in glob.glob("/sys/fs/cgroup/*/" + os.path.basename(ESCAPE)):
        for folder, _, _ in os.walk(top, topdown=False):
            with contextlib.suppress(OSError):
                os.rmdir(folder)


def test(title, timeout=60):
    """As vt.test; what was started is killed."""
    def add(function):
        def wrapped():
            forget_cgroups()
            try:
                function()
            finally:
                kill_started()
        return vt.test(title, timeout=timeout)(wrapped)
    return add


def tree(path):
    """{relative path: (kind and mode, uid, gid, device)}"""
    found = {}
    for folder, folders, files in os.walk(path):
        for name in folders + files:
            full = os.path.join(folder, name)
            s = os.lstat(full)
            found[os.path.relpath(full, path)] = (stat.filemode(s.st_mode), s.st_uid, s.st_gid,
                                                  (os.major(s.st_rdev), os.minor(s.st_rdev)))
    return found


def mounts():
    with open("/proc/self/mountinfo", encoding="utf-8") as f:
        return [line for line in f if vt.tmp() in line]


def secret():
    path = os.path.join(vt.tmp(), "secret")
    with open(path, "w", encoding="ascii") as f:
        f.write("SECRET\n")
    os.chmod(vt.tmp(), 0o755)
    return path


def lay_link(name, path):
    os.makedirs(root(name), exist_ok=True)
    os.symlink(path, os.path.join(root(name), "laid"))


def judge(text, n=14):
    got = text.splitlines()
    vt.check(len(got) == n and all(line.startswith("held ") for line in got), text)


def v1(controller):
    """The mount point of a hierarchy, or None."""
    with open("/proc/self/mounts", encoding="utf-8") as f:
        for line in f:
            _, path, kind, options = line.split()[:4]
            if kind == "cgroup" and controller in options.split(","):
                return path
    return None


def v2():
    with open("/proc/self/mounts", encoding="utf-8") as f:
        return next((x.split()[1] for x in f if x.split()[2] == "cgroup2"), None)


def groups_of(pid):
    """{controller: path}, "" is version 2"""
    with open(f"/proc/{pid}/cgroup", encoding="utf-8") as f:
        return {c: x.rstrip("\n").split(":", 2)[2] for x in f for c in x.split(":")[1].split(",")}


def value(*path):
    with open(os.path.join(*path), encoding="ascii") as f:
        return f.read().strip()


class Cgroup:
    """A parent cgroup of this test, removed with what the jailer made in it."""

    def __init__(self, *mount_points):
        self.name, self.points = f"volt-test-{os.getpid()}", mount_points

    def __enter__(self):
        return self.name

    def __exit__(self, *_):
        kill_started()
        for point in self.points:
            for folder, _, _ in os.walk(os.path.join(point, self.name), topdown=False):
                vt.until(lambda f=folder: not os.path.exists(f) or not self.remove(f), folder)

    @staticmethod
    def remove(folder):
        try:
            os.rmdir(folder)
        except OSError as e:
            return e
        return None


def monitor(name="firecracker"):
    """The static volt-vmm under a name."""
    needs_root()
    vt.check(os.path.exists(FIRECRACKER), f"{FIRECRACKER} is not built")
    if not os.access("/dev/kvm", os.R_OK | os.W_OK):
        raise vt.Skip("no /dev/kvm here")
    path = os.path.join(vt.tmp(), name)
    shutil.copy(FIRECRACKER, path)
    return path


def lay_guest(name, exe, guest, **more):
    os.makedirs(root(name, exe))
    shutil.copy(payload(guest), os.path.join(root(name, exe), "vmlinux"))
    os.chmod(os.path.join(root(name, exe), "vmlinux"), 0o644)
    doc = {"boot-source": {"kernel_image_path": "/vmlinux", "boot_args": "payload.word payload.number=4711"},
           "drives": [], "machine-config": {"vcpu_count": 1, "mem_size_mib": 128}, **more}
    with open(os.path.join(root(name, exe), "vm.json"), "w", encoding="ascii") as f:
        json.dump(doc, f)


CONFIG = ["--config-file", "/vm.json", "--no-api"]


def rootless(name, *flags, exe=ESCAPE, status=0, rest=(), uid=None, gid=None, wrap=()):
    """As run(), by a user that is nobody. The program ends or is a daemon."""
    needs_root()
    if not os.path.exists("/dev/kvm"):
        raise vt.Skip("no /dev/kvm to mount in the jail")
    os.chmod(vt.tmp(), 0o755)
    tools = os.path.join(vt.tmp(), "tools")
    os.makedirs(tools, exist_ok=True)
    programs = [shutil.copy(p, tools) for p in (JAILER, exe)]
    os.chown(base(), NOBODY, NOBODY)
    argv = command(name, "--rootless", *flags, exe=programs[1], rest=rest, uid=uid, gid=gid)
    with open(os.path.join(vt.tmp(), "out"), "wb") as out:
        r = subprocess.run([*wrap, "setpriv", "--reuid", str(NOBODY), "--regid", str(NOBODY),
                            "--clear-groups", programs[0], *argv[1:]], stdin=subprocess.DEVNULL, stdout=out,
                           stderr=subprocess.PIPE, check=False, text=True)
    if "make a user namespace" in r.stderr:
        raise vt.Skip(r.stderr.splitlines()[0])
    vt.check(r.returncode == status, f"status {r.returncode}\n{r.stderr}")
    return r.stderr
