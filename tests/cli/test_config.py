# SPDX-License-Identifier: Apache-2.0
"""Bad input: one clear message for each mistake, all mistakes of a configuration together, exit
status 1, and KVM is not touched."""
import json
import os
import re
import subprocess

import vt
from vmm import BINARY, disk, payload

LOG_LINE = re.compile(r"^\d{4}-\d\d-\d\dT[\d:.]+ \[")


def run(*args, **kw):
    r = subprocess.run([BINARY, *map(str, args)], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                       stderr=subprocess.PIPE, text=True, check=False, timeout=20, **kw)
    return r.returncode, r.stdout, r.stderr


def errors(text):
    """What is not a line of the log."""
    return [line for line in text.splitlines() if line and not LOG_LINE.match(line)]


def refused(args, *messages, kvm_allowed=False):
    """volt-vmm ends with 1 and says exactly one line for each pattern; KVM stays closed."""
    trace = os.path.join(vt.tmp(), "trace")
    r = subprocess.run(["strace", "-f", "-qq", "-e", "trace=open,openat,ioctl", "-o", trace, BINARY,
                        *map(str, args)], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                       stderr=subprocess.PIPE, text=True, check=False, timeout=20)
    vt.same(r.returncode, 1, f"exit status (stderr: {r.stderr!r})")
    vt.same(r.stdout, "", "standard output")
    lines = errors(r.stderr)
    vt.same(len(lines), len(messages), f"number of lines on stderr {lines}")
    for pattern in messages:
        vt.check(sum(bool(re.search(pattern, line)) for line in lines) == 1,
                 f"{pattern!r} is not in exactly one of {lines}")
    if not kvm_allowed:
        with open(trace, encoding="utf-8", errors="replace") as f:
            calls = f.read()
        vt.check("/dev/kvm" not in calls and "KVM_" not in calls, f"KVM was touched:\n{calls}")


def file(name, data=b""):
    path = os.path.join(vt.tmp(), name)
    with open(path, "wb") as f:
        f.write(data)
    return path


def kernel():
    return payload("hello")


def document(**sections):
    doc = {"boot-source": {"kernel_image_path": kernel()},
           "machine-config": {"vcpu_count": 1, "mem_size_mib": 128}, "drives": []}
    doc.update(sections)
    return file("vm.json", json.dumps(doc).encode())


def _truncated(n):
    with open(kernel(), "rb") as f:
        return file("kernel", f.read()[:n])


def _broken_elf(offset, data):
    with open(kernel(), "rb") as f:
        content = bytearray(f.read())
    content[offset:offset + len(data)] = data
    return file("kernel", bytes(content))


vt.test("no kernel is given")(lambda: refused([], "--kernel"))
vt.test("the kernel is missing")(
    lambda: refused(["--kernel", "/none/vmlinux"], "/none/vmlinux.*No such file"))
vt.test("the kernel is a directory")(lambda: refused(["--kernel", "/etc"], "/etc.*directory"))
vt.test("the kernel is empty")(
    lambda: refused(["--kernel", file("kernel")], "kernel.*(empty|short|truncated|neither|0 bytes)",
                    kvm_allowed=True))
vt.test("the kernel is short: 10, 64 and 5000 bytes")(
    lambda: [refused(["--kernel", _truncated(n)], "kernel.*(only 10 bytes|end of the file)",
                     kvm_allowed=True) for n in (10, 64, 5000)])
vt.test("the kernel is not a kernel")(
    lambda: refused(["--kernel", file("kernel", b"\x42" * 70000)], "neither an ELF",
                    kvm_allowed=True))
vt.test("the kernel is for another machine")(
    lambda: refused(["--kernel", _broken_elf(18, b"\xb7\x00")], "kernel.*x86-64", kvm_allowed=True))
vt.test("the kernel's program headers are beyond the file")(
    lambda: refused(["--kernel", _broken_elf(32, b"\xff" * 8)], "kernel", kvm_allowed=True))
vt.test("the kernel does not fit the memory")(
    lambda: refused(["--kernel", kernel(), "--mem", 1], "kernel.*memory", kvm_allowed=True))
vt.test("the initrd is missing")(
    lambda: refused(["--kernel", kernel(), "--initrd", "/none/initrd"], "initrd.*No such file"))
vt.test("the initrd does not fit the memory")(
    lambda: refused(["--kernel", kernel(), "--initrd", disk("big", 2 * 140000)], "initrd.*memory"))
vt.test("0 and 33 vCPUs, and words for numbers")(
    lambda: [refused(["--kernel", kernel(), "--cpus", n], f"--cpus.*1 to 32.*'{n}'")
             for n in ("0", "33", "-1", "two", "1.5", "99999999999999999999")])
vt.test("3 vCPUs with two threads a core")(
    lambda: refused(["--kernel", kernel(), "--cpus", 3, "--smt"], "smt|vcpu|cpus"))
vt.test("no memory, too much, and words for numbers")(
    lambda: [refused(["--kernel", kernel(), "--mem", n], "--mem.*'")
             for n in ("0", "lots", "12Q", "2000000", "-5")])
vt.test("a CPU template that is missing, no JSON, or no template")(
    lambda: [refused(["--kernel", kernel(), "--cpu-config", path], f"^cpu-config: {path}{says}")
             for path, says in (
                 ("/none/t.json", " cannot be read: No such file"),
                 (file("a.json", b'{"msr_modifiers": [\n{]}'), ":2:2: "),
                 (file("b.json", b'{"msr_modifiers": [{"addr": "266", "bitmap": "0b1"}]}'),
                  r": msr_modifiers\[0\]\.addr: No supported number system prefix"),
                 (file("c.json", b'{"msr_modifier": []}'), ": unknown field `msr_modifier`"))])
vt.test("a disk is missing")(
    lambda: refused(["--kernel", kernel(), "--disk", "/none/a.img"], "/none/a.img.*No such file"))
vt.test("a disk of 1000 bytes")(
    lambda: refused(["--kernel", kernel(), "--disk", file("a.img", b"x" * 1000)],
                    "1000 bytes.*multiple of 512"))
vt.test("an empty disk")(
    lambda: refused(["--kernel", kernel(), "--disk", file("a.img")], "a.img.*empty"))
vt.test("a disk that is a directory")(
    lambda: refused(["--kernel", kernel(), "--disk", "/etc"], "/etc.*directory"))
vt.test("two disks with one id")(
    lambda: refused(["--kernel", kernel(), "--disk", disk("a") + ",id=x", "--disk",
                     disk("b") + ",id=x"], "'x'.*id"))
vt.test("18 disks")(
    lambda: refused(["--kernel", kernel()] + [a for i in range(18)
                                              for a in ("--disk", disk(f"{i}"))], "17"))
vt.test("a MAC address that is multicast, zero or none, before anything is opened")(
    lambda: [refused(["--kernel", kernel(), "--net", f"tap=t0,mac={mac}"], f"--net: mac: .*{says}")
             for mac, says in (("01:00:5e:00:00:01", r"bit 0.*\b02:00:5e:00:00:01$"),
                               ("00:00:00:00:00:00", r"\b02:00:00:00:00:01$"),
                               ("02:00:00:00:01", "six bytes"))])
vt.test("two interfaces with one MAC address, in other letters")(
    lambda: refused(["--kernel", kernel(), "--net", "tap=a,mac=aa:fc:00:00:00:01",
                     "--net", "passt,mac=AA:FC:00:00:00:01"], "MAC address is already in use"))
vt.test("an interface without a back end, and one that is unknown")(
    lambda: [refused(["--kernel", kernel(), "--net", spec], "tap=NAME.*passt")
             for spec in ("tap0", "tun=tap0")])
vt.test("an interface name of 16 bytes")(
    lambda: refused(["--kernel", kernel(), "--net", "tap=" + 16 * "t"], "--net.*16 bytes.*15"))
vt.test("a descriptor that is not open, and one that is standard error")(
    lambda: [refused(["--kernel", kernel(), "--net", f"fd={fd}"], says)
             for fd, says in ((99, "99 is not open"), (2, "from 3 to"))])
vt.test("vhost with a rate limit, a bridge without networkd, ports without passt")(
    lambda: [refused(["--kernel", kernel(), "--net", f"tap=t0,{option}"], says)
             for option, says in (("vhost,tx-ops=1/1", r"\.vhost: .*rate"),
                                  ("bridge=br0", r"\.bridge: .*Networkd"),
                                  ("tcp=80:80", r"\.ports: .*Passt"))])
vt.test("9 interfaces, and 19 devices")(
    lambda: [refused(["--kernel", kernel()] + 9 * ["--net", "passt"], "maximum is 8"),
             refused(["--kernel", kernel()] + 2 * ["--net", "passt"]
                     + [a for i in range(16) for a in ("--disk", disk(f"{i}"))],
                     "19 virtio devices.*18")])
vt.test("a vsock path of 108 bytes")(
    lambda: refused(["--kernel", kernel(), "--vsock", "/" + 107 * "v"], "108 bytes.*107"))
vt.test("a vsock in a directory that is missing, and at a file")(
    lambda: [refused(["--kernel", kernel(), "--vsock", path], says)
             for path, says in (("/none/v", "/none.*No such file"), (kernel(), "is a file"))])
vt.test("a vsock address below 3")(
    lambda: refused(["--kernel", kernel(), "--vsock", "v,cid=2"], "cid.*3 to 4294967294"))
vt.test("an unknown option of a disk")(
    lambda: refused(["--kernel", kernel(), "--disk", disk() + ",fast"], "--disk.*'fast'"))
vt.test("an unknown flag, with the one that was meant")(
    lambda: refused(["--kernel", kernel(), "--cpu", 1], "--cpu: .*--cpus"))
vt.test("a flag without its value")(lambda: refused(["--kernel"], "--kernel.*needs a value"))
vt.test("a command line of 3000 bytes")(
    lambda: refused(["--kernel", kernel(), "--cmdline", "a" * 3000], "--cmdline.*3000.*2047"))
vt.test("a command line that is too long with what the monitor adds")(
    lambda: refused(["--kernel", kernel(), "--cmdline", "a" * 2040], "command line|cmdline",
                    kvm_allowed=True))
vt.test("an unknown key, with its path")(
    lambda: refused(["--config-file", document(**{"machine-config": {
        "vcpu_count": 1, "mem_size_mib": 128, "cores": 2}})], r"machine-config\.cores.*unknown"))
vt.test("an unknown section")(
    lambda: refused(["--config-file", document(colour={"a": 1})], "colour.*unknown"))
vt.test("a number that is a string, with its path")(
    lambda: refused(["--config-file", document(**{"machine-config": {
        "vcpu_count": "two", "mem_size_mib": 128}})], r'machine-config\.vcpu_count.*"two"'))
vt.test("an unknown key in the second drive, with its path")(
    lambda: refused(["--config-file", document(drives=[
        {"drive_id": "a", "path_on_host": disk("a"), "is_root_device": False},
        {"drive_id": "b", "path_on_host": disk("b"), "is_root_device": False, "speed": 9}])],
        r"drives\[1\]\.speed.*unknown"))
vt.test("an unknown key in a token bucket, with its path")(
    lambda: refused(["--config-file", document(**{"network-interfaces": [
        {"iface_id": "eth0", "host_dev_name": "tap0", "tx_rate_limiter": {
            "ops": {"size": 1, "refill_time": 1, "burst": 1}}}]})],
        r"network-interfaces\[0\]\.tx_rate_limiter\.ops\.burst.*unknown"))
vt.test("a document that is not JSON, with the line")(
    lambda: refused(["--config-file", file("vm.json", b'{\n"boot-source": oops }')], "vm.json:2"))
vt.test("a document that is missing")(
    lambda: refused(["--config-file", "/none/vm.json"], "/none/vm.json.*No such file"))
vt.test("several mistakes on the command line are told together")(
    lambda: refused(["--kernel", "/none/k", "--cpus", 99, "--mem", "x", "--disk", "/none/d",
                     "--bogus"], "/none/k", "--cpus", "--mem", "/none/d", "--bogus"))
vt.test("several mistakes in a document are told together")(
    lambda: refused(["--config-file", document(**{
        "machine-config": {"vcpu_count": 0, "mem_size_mib": 128, "x": 1},
        "boot-source": {"kernel_image_path": "/none/k"}})],
        r"machine-config\.vcpu_count", r"machine-config\.x", "/none/k"))


@vt.test("an unreadable kernel and disk, as another user")
def _():
    if os.geteuid() != 0:
        raise vt.Skip("needs root, to become another user")
    os.chmod(vt.tmp(), 0o755)
    binary = as_nobody_can(BINARY)
    k, d = file("kernel", b"x"), disk()
    os.chmod(k, 0)
    os.chmod(d, 0o400)
    r = subprocess.run(["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups", binary,
                        "--kernel", k, "--disk", d], stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                       text=True, check=False, timeout=20)
    vt.same(r.returncode, 1, "exit status")
    lines = errors(r.stderr)
    vt.same(len(lines), 2, f"lines {lines}")
    vt.check(all("Permission denied" in line for line in lines), lines)


def as_nobody_can(path):
    copy = os.path.join(vt.tmp(), os.path.basename(path))
    subprocess.run(["cp", path, copy], check=True)
    os.chmod(copy, 0o755)
    return copy


@vt.test("--check accepts a good configuration, touches no KVM and says nothing")
def _():
    trace = os.path.join(vt.tmp(), "trace")
    r = subprocess.run(["strace", "-f", "-qq", "-e", "trace=openat,ioctl", "-o", trace, BINARY,
                        "--kernel", kernel(), "--disk", disk(), "--check"], text=True, check=False,
                       stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=20)
    vt.same((r.returncode, r.stdout), (0, ""), "status and output")
    with open(trace, encoding="utf-8") as f:
        vt.check("/dev/kvm" not in f.read(), "--check opened /dev/kvm")
    status, _, err = run("--kernel", "/none", "--check")
    vt.same(status, 1, "status of a bad one")
    vt.check("/none" in err, err)


@vt.test("--check opens no network and makes no socket")
def _():
    trace, path = os.path.join(vt.tmp(), "trace"), os.path.join(vt.tmp(), "v.sock")
    r = subprocess.run(["strace", "-f", "-qq", "-e", "trace=%network,%file", "-o", trace, BINARY,
                        "--kernel", kernel(), "--net", "tap=volt-none", "--net", "passt", "--net",
                        "macvtap=volt-none", "--vsock", path, "--check"], text=True, check=False,
                       stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=20)
    vt.same((r.returncode, r.stdout), (0, ""), "status and output")
    with open(trace, encoding="utf-8") as f:
        calls = f.read()
    vt.check(not re.search(r"socket\(|/dev/net|O_CREAT", calls), calls)
    vt.same(calls.count("execve("), 1, "programs that were started")
    vt.check(not os.path.lexists(path), "--check made the socket")


@vt.test("inherited descriptors are closed, but not those of --net fd=")
def _():
    # Not a kernel: the monitor ends after it has closed what it does not need.
    k, trace = file("kernel", b"\x42" * 70000), os.path.join(vt.tmp(), "trace")
    fds = sorted(os.open("/dev/null", os.O_RDONLY) for _ in range(3))
    high = [fd + 40 for fd in fds]
    for fd, to in zip(fds, high):
        os.dup2(fd, to)
        os.close(fd)
    try:
        r = subprocess.run(["strace", "-f", "-e", "trace=close_range,fcntl", "-o", trace, BINARY,
                            "--kernel", k, "--net", f"fd={high[1]}"], text=True, check=False,
                           stderr=subprocess.PIPE, pass_fds=high, timeout=20)
    finally:
        for fd in high:
            os.close(fd)
    vt.same(r.returncode, 1, f"exit status (stderr {r.stderr!r})")
    with open(trace, encoding="utf-8") as f:
        calls = f.read()
    vt.check(f"fcntl({high[1]}, F_SETFD, FD_CLOEXEC)" in calls, calls)
    ranges = re.findall(r"close_range\((\d+), (\d+), 0\) += 0", calls)
    vt.same([(int(a), int(b)) for a, b in ranges],
            [(3, high[1] - 1), (high[1] + 1, 0xffffffff)], "ranges that were closed")


@vt.test("--dump-config gives a document that gives the same document")
def _():
    args = ["--kernel", kernel(), "--disk", disk() + ",ro,io=uring,id=q", "--cpus", 4, "--smt",
            "--mem", "300", "--cmdline", 'quiet "x y"', "--id", "a-b", "--console", "off",
            "--shutdown-timeout", 7, "--vsock", os.path.join(vt.tmp(), "v") + ",cid=5",
            "--net", "tap=tap0,mac=02:fc:00:00:00:01,rx-bandwidth=10M/1000/1M,mtu=9000,queues=2",
            "--net", "passt,tcp=8080:80,udp=53:53", "--net", "macvtap=eth0,mode=vepa"]
    status, first, err = run(*args, "--dump-config")
    vt.same((status, err), (0, ""), "status and stderr")
    doc = json.loads(first)
    vt.same(doc["machine-config"]["vcpu_count"], 4, "vcpu_count")
    vt.same(doc["machine-config"]["mem_size_mib"], 300, "mem_size_mib")
    vt.same(doc["network-interfaces"][0]["rx_rate_limiter"], {"bandwidth": {
        "size": 10485760, "one_time_burst": 1048576, "refill_time": 1000}}, "rx_rate_limiter")
    vt.same(doc["network-interfaces"][1]["ports"], ["tcp:8080:80", "udp:53:53"], "ports")
    vt.same(doc["vsock"]["guest_cid"], 5, "guest_cid")
    status, second, err = run("--config-file", file("vm.json", first.encode()), "--dump-config")
    vt.same((status, second, err), (0, first, ""), "the second document")


@vt.test("--version and --help go to standard output, with 0, whatever else is there")
def _():
    status, out, err = run("--version")
    vt.same((status, err), (0, ""), "status and stderr")
    vt.check(re.fullmatch(r"volt-vmm v\d+\.\d+\.\d+\n", out), out)
    status, out, err = run("--bogus", "--help")
    vt.check(status == 0 and out.startswith("Usage: volt-vmm") and not err, (status, out, err))
    for flag in ("--kernel", "--disk", "--net", "--vsock", "--config-file", "--no-seccomp", "--check"):
        vt.check(flag in out, f"--help lacks {flag}")
