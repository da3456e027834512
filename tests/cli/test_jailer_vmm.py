# SPDX-License-Identifier: Apache-2.0
"""volt-vmm in a jail, and jails that are made without root."""
import os
import shutil
import socket

import netns
import vt
from jail import (CONFIG, NOBODY, UID, Cgroup, alive, base, groups_of, jailed, judge, lay_guest,
                  monitor, mounts, needs_root, pid_of, root, rootless, run, secret, status_of, test,
                  tree, v1, v2, value)


# ---- as root ----

@test("a guest in a jail, by volt-vmm under both of its names")
def _():
    for name in "firecracker", "volt-vmm":
        exe = monitor(name)
        lay_guest("a", exe, "hello")
        text = run("a", exe=exe, rest=CONFIG)
        vt.check("PASS" in text, text)


@test("a disk with an overlay in a jail: only the overlay is the jail's user's")
def _():
    exe = monitor()
    drive = {"drive_id": "d", "path_on_host": "/base.img", "overlay_path": "/over", "is_root_device": False,
             "cache_type": "Writeback"}
    for name, generation in ("a", 0), ("b", 1):
        lay_guest(name, exe, "overlay", drives=[drive], **{"boot-source": {
            "kernel_image_path": "/vmlinux", "boot_args": f"expect.generations={generation} write"}})
        image, over = (os.path.join(root(name, exe), f) for f in ("base.img", "over"))
        with open(image, "wb") as f:
            f.write(b"\x5a" * (512 << 9))
        os.chmod(image, 0o444)
        if name == "a":
            with open(over, "wb"):
                pass
        else:
            shutil.copy(os.path.join(root("a", exe), "over"), over)
        os.chown(over, UID, -1)
        text = run(name, exe=exe, rest=CONFIG)
        vt.check("flushed" in text, text)


@test("volt-vmm in a jail is confined as ever")
def _():
    exe = monitor()
    lay_guest("a", exe, "echo")
    pid = jailed("a", exe=exe, rest=CONFIG)

    def threads():
        found = [status_of(f"{pid}/task/{t}") for t in os.listdir(f"/proc/{pid}/task")]
        return len(found) > 1 and all(s["Seccomp"] == "2" for s in found) and found

    for s in vt.until(threads, "two threads with seccomp on"):
        vt.same((s["NoNewPrivs"], s["CapEff"].strip("0"), s["Uid"].split()[0]), ("1", "", str(UID)), "rights")


@test("the API's socket in a jail")
def _():
    exe = monitor()
    pid = jailed("a", exe=exe, rest=[])
    path = os.path.join(root("a", exe), "run", "firecracker.socket")
    vt.until(lambda: os.path.exists(path) or not alive(pid), path)
    with socket.socket(socket.AF_UNIX) as s:
        os.chdir(os.path.dirname(path))  # a path of less than 108 bytes
        s.connect("firecracker.socket")
        s.sendall(b"GET / HTTP/1.1\r\n\r\n")
        answer = s.recv(4096).decode()
    vt.check(answer.startswith("HTTP/1.1 200") and '"id":"a"' in answer.replace(" ", ""), answer)


@test("a tap by name in the jail's network namespace, which belongs to the jail's user")
def _():
    needs_root()
    exe, ns = monitor(), netns.Namespace(f"tuntap add tap0 mode tap user {UID}", "link set tap0 up")
    lay_guest("a", exe, "echo", **{"network-interfaces": [{"iface_id": "eth0", "host_dev_name": "tap0"}]})
    jailed("a", "--netns", f"/proc/{os.getpid()}/fd/{ns.fd}", exe=exe, rest=CONFIG)
    vt.until(lambda: "LOWER_UP" in ns.links()["tap0"]["flags"], "the tap is in use")


@test("an open tap in a jail; what is not there, and says so")
def _():
    exe, ns = monitor("volt-vmm"), netns.Namespace()
    tap = ns.tap("tap0")
    ns.ip("link set tap0 up")
    lay_guest("a", exe, "echo")
    more = ["--kernel", "/vmlinux", "--vsock", "/run/v.sock"]
    jailed("a", "--keep-fd", str(tap), exe=exe, rest=[*more, "--net", f"fd={tap}"], pass_fds=[tap])
    vt.until(lambda: os.path.exists(os.path.join(root("a", exe), "run/v.sock")), "a vsock socket")
    for i, (back, words) in enumerate((("macvtap=tap0", "as in a jail: volt-jailer(8) says"),
                                       ("passt", "in a jail a tap by name or descriptor"),
                                       ("tap=none", "there is none, and making one needs"))):
        lay_guest(f"b{i}", exe, "echo")
        text = run(f"b{i}", exe=exe, rest=[*more, "--net", back], status=1)
        vt.check(words in text, text)


# ---- without root ----

@test("rootless: the same layout, the host's nodes, the caller's user")
def _():
    rootless("a", "--daemonize", rest=["wait"], uid=1000, gid=1001)
    pid = pid_of("a")
    s = status_of(pid)
    vt.same((s["Uid"].split()[0], s["Gid"].split()[0], s["NSpid"].split()[1:]),
            (str(NOBODY), str(NOBODY), ["1"]), "user outside")
    vt.same(value(f"/proc/{pid}/uid_map").split(), ["1000", str(NOBODY), "1"], "user map")
    vt.same(value(f"/proc/{pid}/gid_map").split(), ["1001", str(NOBODY), "1"], "group map")
    vt.same(int(s["CapEff"], 16) | int(s["CapBnd"], 16), 0, "capabilities")
    for name in "kvm", "urandom", "net/tun":
        inside = os.stat(f"/proc/{pid}/root/dev/{name}")
        vt.same(inside.st_rdev, os.stat("/dev/" + name).st_rdev, name)
    got = tree(root("a"))
    vt.check(all(v[1:3] == (NOBODY, NOBODY) for v in got.values()), got)
    vt.same(sorted(os.path.dirname(p) for p in got).count("dev/net"), 1, "dev/net/tun")
    vt.same(mounts(), [], "mounts outside")


@test("rootless: escapes fail, for any user inside")
def _():
    for name, uid in ("a", None), ("b", 0):
        rootless(name, rest=["escape", secret(), str(os.getpid())], uid=uid, gid=uid)
        pid = pid_of(name)
        vt.until(lambda p=pid: not alive(p), "it ends")
        with open(os.path.join(vt.tmp(), "out"), encoding="ascii") as f:
            judge(f.read())


@test("rootless: what it cannot do, and nothing is left of it")
def _():
    for words, *flags in (("without root only below a cgroup that was delegated", "--cgroup", "pids.max=9"),
                          ("netns '/proc/1/ns/net'", "--netns", "/proc/1/ns/net"),
                          ("resource-limit no-file=", "--resource-limit", f"no-file={1 << 40}")):
        if "--cgroup" in flags and not v1("pids"):
            flags += ["--cgroup-version", "2"]
        text = rootless("a", *flags, status=1)
        vt.check(words in text, text)
        vt.same((os.listdir(base()), mounts()), ([], []), words)


@test("rootless: below a cgroup of version 2 that was delegated")
def _():
    needs_root()
    files = {"pids": ("pids.max", "11"), "hugetlb": ("hugetlb.2MB.max", "4194304")}
    known = [c for c in files if v2() and c in value(v2(), "cgroup.controllers").split()]
    if not known:
        raise vt.Skip("no controller of version 2 here")
    file, number = files[known[0]]
    with Cgroup(v2()) as parent:
        top = os.path.join(v2(), parent)
        mine = os.path.join(top, "mine")
        for folder in v2(), top:
            os.makedirs(mine, exist_ok=True)
            with open(os.path.join(folder, "cgroup.subtree_control"), "w", encoding="ascii") as f:
                f.write("+" + known[0])
        os.mkdir(os.path.join(mine, "shell"))
        for path in mine, mine + "/shell", mine + "/cgroup.procs", mine + "/cgroup.subtree_control":
            os.chown(path, NOBODY, NOBODY)
        enter = ["sh", "-ec", f'echo 0 >{mine}/shell/cgroup.procs; exec "$@"', "sh"]
        rootless("a", "--daemonize", "--cgroup-version", "2", "--parent-cgroup", parent + "/mine/vms",
                 "--cgroup", f"{file}={number}", rest=["wait"], wrap=enter)
        vt.same(groups_of(pid_of("a"))[""], f"/{parent}/mine/vms/a", "group")
        vt.same(value(mine, "vms/a", file), number, file)


@test("rootless: a guest on KVM")
def _():
    netns.own_dev()
    exe = monitor()
    os.chmod(vt.tmp(), 0o755)
    os.chown(base(), NOBODY, NOBODY)
    lay_guest("a", exe, "hello")
    for folder, _, files in os.walk(base()):
        for path in [folder] + [os.path.join(folder, f) for f in files]:
            os.chown(path, NOBODY, NOBODY)
    rootless("a", exe=exe, rest=CONFIG)

    def passed():
        with open(os.path.join(vt.tmp(), "out"), encoding="utf-8") as f:
            return "PASS" in f.read()

    pid_of("a", exe)
    vt.until(passed, "PASS")
