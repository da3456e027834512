# SPDX-License-Identifier: Apache-2.0
"""What the lab downloads and builds, kept in the cache: kernel, supervisor, probe, initramfs.

Everything is made beside its final name and renamed into place, under names that carry a version or
a hash of the content, so parallel and interrupted runs are safe and nothing is ever rewritten.
"""
import contextlib
import fcntl
import hashlib
import lzma
import os
import re
import shutil
import struct
import subprocess
import sys
import tempfile

from . import LabError

HERE = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
# Loaded before the root can be mounted, and (late) while it is being mounted.
EARLY = ["virtio_pci", "virtio_console", "9pnet_virtio", "9p", "overlay"]
LATE = ["virtio_rng", "kvm_amd"]
NET = ["virtio_net"]


def root():
    base = os.environ.get("VOLT_CACHE")
    if not base:
        xdg = os.environ.get("XDG_CACHE_HOME") or os.path.join(os.path.expanduser("~"), ".cache")
        base = os.path.join(xdg, "volt")
    path = os.path.join(os.path.abspath(base), "lab")
    try:
        os.makedirs(path, exist_ok=True)
    except OSError as e:
        raise LabError(f"cannot make the cache directory {path}: {e.strerror}; "
                       "set VOLT_CACHE to a directory you may write") from e
    return path


def say(text):
    print(f"volt-lab: {text}", file=sys.stderr, flush=True)


def need(*programs):
    """Makes sure programs exist, through tools/deps."""
    path = os.environ.get("PATH", "") + ":/usr/sbin:/sbin"
    missing = [p for p in programs if not shutil.which(p, path=path)]
    if not missing:
        return
    deps = os.path.join(os.path.dirname(HERE), "tools", "deps")
    r = subprocess.run([deps, "lab"], stdin=subprocess.DEVNULL, stdout=sys.stderr.fileno(),
                       check=False)
    missing = [p for p in programs if not shutil.which(p, path=path)]
    if missing:
        raise LabError(f"cannot find {', '.join(missing)} (tools/deps lab ended with status "
                       f"{r.returncode}); install qemu-system-x86, gcc, libc6-dev and kmod")


@contextlib.contextmanager
def locked(name):
    """One maker at a time; the others then find the finished thing."""
    fd = os.open(os.path.join(root(), f".{name}.lock"), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(fd, fcntl.LOCK_EX)
        yield
    finally:
        os.close(fd)


def run(what, argv, **kw):
    r = subprocess.run(argv, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                       stderr=subprocess.STDOUT, check=False, **kw)
    if r.returncode != 0:
        tail = "\n".join(r.stdout.decode(errors="replace").strip().splitlines()[-8:])
        raise LabError(f"{what} failed (status {r.returncode}):\n{tail}")
    return r.stdout.decode(errors="replace")


class Kernel:
    def __init__(self, path):
        self.path = path
        self.release = os.path.basename(path).split("kernel-", 1)[1]
        bare = os.path.join(path, "boot", "vmlinux")
        packed = os.path.join(path, "boot", f"vmlinuz-{self.release}")
        self.image = bare if os.path.exists(bare) else packed
        self.moddir = os.path.join(path, "lib", "modules", self.release)


def _download(tmp):
    out = run("asking apt for the kernel package",
               ["apt-cache", "depends", "--important", "linux-image-amd64"])
    found = re.search(r"Depends: (linux-image-(\S+-amd64))\n", out)
    if not found:
        raise LabError("apt knows no linux-image-amd64; run 'apt-get update' on a Debian machine")
    package, release = found.groups()
    say(f"fetching {package} (once; not installed)")
    # As root apt would switch to the user _apt, who may not enter the cache.
    get = ["apt-get", "-q", "-o", "APT::Sandbox::User=root", "download", package]
    try:
        run("downloading the lab's kernel", get, cwd=tmp)
    except LabError:
        if os.geteuid() != 0:
            raise
        run("apt-get update", ["apt-get", "-q", "update"])
        run("downloading the lab's kernel", get, cwd=tmp)
    deb = [f for f in os.listdir(tmp) if f.endswith(".deb")][0]
    run("unpacking the lab's kernel", ["dpkg", "-x", deb, "kernel"], cwd=tmp)
    return release


def _unpack_image(path):
    """The ELF kernel inside an xz bzImage, or None. Booted directly (PVH) it spares the lab 4 s of
    unpacking itself under emulation; kernels packed otherwise boot as they are."""
    data = _read(path)
    sectors, (offset, size) = data[0x1f1] or 4, struct.unpack_from("<II", data, 0x248)
    begin = (sectors + 1) * 512 + offset
    try:
        elf = lzma.LZMADecompressor(lzma.FORMAT_XZ).decompress(data[begin:begin + size])
    except lzma.LZMAError:
        return None
    return elf if elf.startswith(b"\x7fELF") else None


def kernel():
    """The kernel of the lab: the one in the cache, else the distribution's current one."""
    pointer = os.path.join(root(), "kernel")
    with contextlib.suppress(OSError):
        path = os.path.join(root(), os.readlink(pointer))
        if os.path.isdir(path):
            return Kernel(path)
    need("apt-get", "dpkg", "depmod")
    with locked("kernel"):
        if os.path.isdir(pointer):
            return Kernel(os.path.join(root(), os.readlink(pointer)))
        tmp = tempfile.mkdtemp(prefix=".tmp-", dir=root())
        try:
            release = _download(tmp)
            tree = os.path.join(tmp, "kernel")
            env = dict(os.environ, PATH=os.environ.get("PATH", "") + ":/usr/sbin:/sbin")
            run("depmod", ["depmod", "-b", tree, release], env=env)
            shutil.rmtree(os.path.join(tree, "usr"), ignore_errors=True)
            elf = _unpack_image(os.path.join(tree, "boot", f"vmlinuz-{release}"))
            if elf:
                put(os.path.join(tree, "boot", "vmlinux"), elf, 0o644)
            final = os.path.join(root(), f"kernel-{release}")
            if not os.path.isdir(final):
                os.rename(tree, final)
            os.symlink(f"kernel-{release}", os.path.join(tmp, "link"))
            os.rename(os.path.join(tmp, "link"), pointer)
            return Kernel(final)
        finally:
            shutil.rmtree(tmp, ignore_errors=True)


def _hash(*parts):
    h = hashlib.sha256()
    for p in parts:
        h.update(len(p).to_bytes(8, "little") + p)
    return h.hexdigest()[:16]


def _read(path):
    with open(path, "rb") as f:
        return f.read()


def put(path, data, mode):
    """Writes a whole file or nothing."""
    fd, tmp = tempfile.mkstemp(prefix=".tmp-", dir=os.path.dirname(path))
    with os.fdopen(fd, "wb") as f:
        f.write(data)
        os.fchmod(f.fileno(), mode)
    os.rename(tmp, path)


def program(name, sources, flags):
    """Compiles C files of this directory into the cache; returns the path of the program."""
    texts = [_read(os.path.join(HERE, s)) for s in sources]
    flags = ["-std=gnu17", "-O2", "-static", *flags]
    path = os.path.join(root(), f"{name}-{_hash(*texts, ' '.join(flags).encode())}")
    if os.path.exists(path):
        return path
    need("cc")
    with tempfile.TemporaryDirectory(prefix=".tmp-", dir=root()) as tmp:
        out = os.path.join(tmp, name)
        units = [os.path.join(HERE, s) for s in sources if not s.endswith(".h")]
        run(f"compiling {name}", ["cc", *flags, "-o", out, *units])
        os.rename(out, path)
    return path


def labd():
    return program("labd", ["labd.c", "labd-boot.c", "labd.h"], ["-s"])


def probe():
    return program("kvm-probe", ["kvm-probe.c"], ["-Wall"])


def cpio(entries):
    """A newc archive of (name, mode, content)."""
    out = bytearray()
    for ino, (name, mode, data) in enumerate([*entries, ("TRAILER!!!", 0, b"")]):
        raw = name.encode() + b"\0"
        fields = [ino, mode, 0, 0, 1, 0, len(data), 0, 0, 0, 0, len(raw), 0]
        out += b"070701" + b"".join(b"%08X" % v for v in fields) + raw
        out += b"\0" * (-len(out) % 4) + data
        out += b"\0" * (-len(out) % 4)
    return bytes(out)


def _module_order(k, names):
    """Files of the modules and all they depend on, in load order; built-in ones are left out."""
    files, deps, order = {}, {}, []
    with open(os.path.join(k.moddir, "modules.dep"), encoding="ascii") as f:
        for line in f:
            path, _, rest = line.partition(":")
            stem = os.path.basename(path).split(".ko")[0].replace("-", "_")
            files[stem], deps[path] = path, rest.split()
    for name in names:
        path = files.get(name)
        if path:
            order += [p for p in [*reversed(deps[path]), path] if p not in order]
    return order


def _module(k, path):
    """A module's bytes, unpacked and without its signature: checking that is slow under emulation."""
    data = _read(os.path.join(k.moddir, path))
    if path.endswith(".xz"):
        data = lzma.decompress(data)
    magic = b"~Module signature appended~\n"
    if not data.endswith(magic):
        return data
    end = len(data) - len(magic)
    return data[:end - 12 - struct.unpack_from(">I", data, end - 4)[0]]


def initramfs(k):
    """The supervisor and its modules, as the first part of the lab's initramfs, and their load order."""
    names = {"mod": EARLY, "late": LATE, "net": NET}
    init = labd()
    key = _hash(_read(init), k.release.encode(), repr(names).encode(), b"2")
    path = os.path.join(root(), f"initrd-{key}.cpio")
    order, seen = {}, []
    for stage, wanted in names.items():
        order[stage] = [p for p in _module_order(k, wanted) if p not in seen]
        seen += order[stage]
    stems = {s: [os.path.basename(p).split(".ko")[0] for p in o] for s, o in order.items()}
    if not os.path.exists(path):
        entries = [("init", 0o100755, _read(init)), ("modules", 0o40755, b"")]
        for p in seen:
            stem = os.path.basename(p).split(".ko")[0]
            entries.append((f"modules/{stem}.ko", 0o100644, _module(k, p)))
        put(path, cpio(entries), 0o644)
    return path, stems
