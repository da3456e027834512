# SPDX-License-Identifier: Apache-2.0
"""volt-jailer with real jails: what is in them, what is not, and what is left when they fail."""
import fcntl
import os
import re
import shutil
import stat
import subprocess
import time

import netns
import vt
from jail import (ESCAPE, GID, JAILER, QUIET, STREAMS, UID, Cgroup, alive, base, command, groups_of,
                  jailed, judge, lay_link, mounts, needs_root, ns_of, pid_of, refused, root, run,
                  secret, status_of, test, tree, v1, v2, value)


# ---- the command line ----

@vt.test("version, help and mistakes, as Firecracker's jailer has them")
def _():
    def said(*argv):
        r = subprocess.run([JAILER, *argv], text=True, check=False, **STREAMS)
        return r.returncode, r.stdout, r.stderr

    status, out, _ = said("--version")
    vt.check(status == 0 and re.match(r"Jailer v\d+\.\d+\.\d+\n", out), out)
    status, out, _ = said("--what", "-h")
    vt.check(status == 0 and "--chroot-base-dir <value>" in out, out)
    status, out, err = said("--id", "x")
    vt.same((status, out), (1, ""), "status and stdout")
    vt.check(err.startswith("Argument 'exec-file' required, but not found.\nError: "), err)


@vt.test("without root: one message, and nothing is made")
def _():
    needs_root()
    refused("the jailer needs root", "a", wrap=["setpriv", "--bounding-set", "-mknod"])
    vt.same(os.listdir(base()), [], "base")


# ---- what is in the jail ----

@test("layout: folders, nodes, owners, modes")
def _():
    os.makedirs(root("a"))
    with open(os.path.join(root("a"), "disk"), "w", encoding="ascii"):
        pass  # a client's, before the start
    jailed("a")
    want = {"dev": ("drwx------", (0, 0)), "dev/net": ("drwx------", (0, 0)),
            "run": ("drwx------", (0, 0)), "jail-escape": ("-rwxr-xr-x", (0, 0)),
            "jail-escape.pid": ("-rw-r--r--", (0, 0)), "dev/kvm": ("crw-------", (10, 232)),
            "dev/net/tun": ("crw-------", (10, 200)), "dev/urandom": ("crw-------", (1, 9))}
    with open("/proc/misc", encoding="ascii") as f:
        minor = re.search(r"(\d+) userfaultfd\n", f.read())
    if minor:
        want["dev/userfaultfd"] = ("crw-------", (10, int(minor[1])))
    got = tree(root("a"))
    vt.same(got.pop("disk")[1:3], (0, 0), "the client's file")
    vt.same(got, {k: (mode, UID, GID, rdev) for k, (mode, rdev) in want.items()}, "the jail")
    s = os.stat(root("a"))
    vt.same((stat.filemode(s.st_mode), s.st_uid, s.st_gid), ("drwx------", UID, GID), "root")
    for folder in base(), os.path.dirname(root("a")), os.path.dirname(os.path.dirname(root("a"))):
        vt.same((os.stat(folder).st_uid, os.stat(folder).st_mode & 0o7777), (0, 0o755), folder)
    vt.check(os.stat(os.path.join(root("a"), "jail-escape")).st_ino != os.stat(ESCAPE).st_ino,
             "the program is not a copy")
    vt.same(mounts(), [], "mounts outside")


@test("the program: its arguments, no environment, three streams, the caller's umask")
def _():
    r, w = os.pipe()
    high = fcntl.fcntl(w, fcntl.F_DUPFD, 1000)
    text = run("a", rest=["show", "--id", "other"], env={"SECRET": "1", "LD_PRELOAD": "/x.so"},
               pass_fds=(r, w, high), preexec_fn=lambda: os.umask(0o037))
    lines = text.splitlines()
    args = [x.split(" ", 1)[1] for x in lines if x.startswith("argument ")]
    vt.same(args[:3] + args[-3:], ["/jail-escape", "--id", "a", "show", "--id", "other"], "arguments")
    vt.same(args[3:9:2], ["--start-time-us", "--start-time-cpu-us", "--parent-cpu-time-us"], "times")
    now = time.clock_gettime(time.CLOCK_MONOTONIC) * 1e6
    vt.check(0 < now - int(args[4]) < 30e6 * vt.FACTOR and int(args[6]) > 0, args)
    vt.same(args[8], "0", "CPU time of a parent")
    vt.same(lines[len(args):], ["umask 037", "descriptor 0", "descriptor 1", "descriptor 2"], "rest")


@test("the program's CPU time counts that of the jailers before it")
def _():
    for flags in ["--daemonize"], ["--new-pid-ns"], ["--daemonize", "--new-pid-ns"]:
        name = "a" + "".join(flags).replace("--", "-")
        run(name, *flags, rest=["wait"], **QUIET)
        with open(f"/proc/{pid_of(name)}/cmdline", encoding="ascii") as f:
            args = f.read().split("\0")
        vt.same(args[args.index("--start-time-cpu-us") + 1], "0", "its own")
        vt.check(int(args[args.index("--parent-cpu-time-us") + 1]) > 0, args)


@test("/proc: user, groups, capabilities, limits, root, namespaces")
def _():
    pid = jailed("a", "--resource-limit", "fsize=1000000", "--resource-limit", "no-file=77")
    s = status_of(pid)
    vt.same((s["Uid"].split(), s["Gid"].split(), s["Groups"].split()),
            ([str(UID)] * 4, [str(GID)] * 4, []), "user")
    for field in "CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb":
        vt.same(int(s[field], 16), 0, field)
    vt.same(s["NoNewPrivs"], "1", "no_new_privs")
    with open(f"/proc/{pid}/limits", encoding="ascii") as f:
        limits = {line[:25].strip(): line[25:].split()[:2] for line in f}
    vt.same((limits["Max file size"], limits["Max open files"]), (["1000000"] * 2, ["77"] * 2), "limits")
    with open(f"/proc/{pid}/mountinfo", encoding="utf-8") as f:
        table = f.read().splitlines()
    vt.same([line.split()[4] for line in table], ["/"], "mounts in the jail")
    vt.check(os.path.samefile(f"/proc/{pid}/root/", root("a")), "another root")
    vt.check(os.path.samefile(f"/proc/{pid}/cwd/", root("a")), "another folder")
    vt.check(ns_of(pid, "mnt") != ns_of("self", "mnt") and ns_of(pid, "ipc") != ns_of("self", "ipc"),
             "shared namespaces")
    vt.same((ns_of(pid, "pid"), ns_of(pid, "net")), (ns_of("self", "pid"), ns_of("self", "net")), "same")
    pid = jailed("b")
    with open(f"/proc/{pid}/limits", encoding="ascii") as f:
        vt.check(re.search(r"Max open files +2048 +2048 ", f.read()), "the default of no-file")


@test("--daemonize and --new-pid-ns: session, streams, process id")
def _():
    pid = jailed("a")
    fields = open(f"/proc/{pid}/stat", encoding="ascii").read().rsplit(")", 1)[1].split()
    vt.check(fields[3] not in (str(pid), str(os.getsid(0))) and fields[4] == "0", fields)
    vt.same([os.readlink(f"/proc/{pid}/fd/{n}") for n in sorted(os.listdir(f"/proc/{pid}/fd"))],
            ["/dev/null"] * 3, "streams")
    for name, flags in ("b", []), ("c", ["--daemonize"]):
        run(name, "--new-pid-ns", *flags, rest=["wait"], **QUIET)
        pid = pid_of(name)
        vt.same(status_of(pid)["NSpid"].split(), [str(pid), "1"], "process ids")
        vt.check(ns_of(pid, "pid") != ns_of("self", "pid"), "no namespace")
    needs_root()
    with subprocess.Popen(command("d", rest=["wait"]), **STREAMS) as proc:
        vt.same(proc.stdout.readline(), b"waiting\n", "word")
        vt.same(pid_of("d"), proc.pid, "without either it is the same process")
        proc.kill()


@test("--netns: its network is that of the namespace")
def _():
    needs_root()
    ns = netns.Namespace()
    pid = jailed("a", "--netns", f"/proc/{os.getpid()}/fd/{ns.fd}")
    vt.same(ns_of(pid, "net"), os.readlink(f"/proc/self/fd/{ns.fd}"), "namespace")
    refused("netns '/none': No such file", "b", "--netns", "/none")
    refused("it is no network namespace", "b", "--netns", "/proc/self/ns/mnt")
    refused("it is no network namespace", "b", "--netns", "/dev/null")
    vt.check(not os.path.exists(root("b")), "a jail was begun")


@test("mounts of the host below the jail come in, before and after the start; none goes out")
def _():
    needs_root()
    vt.same(netns._libc.unshare(netns.CLONE_NEWNS), 0, "unshare")
    os.makedirs(os.path.join(root("a"), "before"))
    os.makedirs(os.path.join(root("a"), "after"))
    sh = f"mount --make-rshared / && mount -t tmpfs none {root('a')}/before"
    subprocess.run(["sh", "-ec", sh], check=True)
    pid = jailed("a")
    subprocess.run(["mount", "-t", "tmpfs", "none", root("a") + "/after"], check=True)
    with open(f"/proc/{pid}/mountinfo", encoding="utf-8") as f:
        vt.same(sorted(line.split()[4] for line in f), ["/", "/after", "/before"], "mounts inside")
    vt.same(sorted(m.split()[4] for m in mounts()), [root("a") + "/after", root("a") + "/before"],
            "mounts outside")


@test("--keep-fd: this one stays, others do not; no folders")
def _():
    fds = [os.open("/dev/null", os.O_RDONLY) for _ in range(3)]
    text = run("a", "--keep-fd", str(fds[1]), rest=["show"], pass_fds=fds)
    vt.check(text.endswith(f"descriptor 2\ndescriptor {fds[1]}\n"), text)
    folder = os.open("/", os.O_RDONLY)
    refused("a folder is a way out", "b", "--keep-fd", str(folder), pass_fds=[folder])
    refused("keep-fd 999: Bad file descriptor", "b", "--keep-fd", "999")
    refused("descriptor 0 is a folder", "b", stdin=folder)
    run("b", rest=["show"], preexec_fn=lambda: (os.close(0), os.close(2)))


# ---- getting out ----

@test("escapes: each of them is one where there is no jail")
def _():
    names = ["path", "symlink", "dots", "hard link", "signal"]  # those that do no harm
    r = subprocess.run([ESCAPE, "escape", secret(), str(os.getpid()), *names], text=True, check=True,
                       **STREAMS)
    vt.same([line.split(":")[0] for line in r.stdout.splitlines()], ["OUT " + n for n in names], "got")


@test("escapes: all fail")
def _():
    lay_link("a", secret())
    judge(run("a", rest=["escape", secret(), str(os.getpid())]))


@test("escapes: uid 0, in a namespace of processes: it is not root")
def _():
    out = os.path.join(vt.tmp(), "out")
    lay_link("a", secret())
    with open(out, "wb") as f:
        subprocess.run(command("a", "--new-pid-ns", uid=0, gid=0,
                               rest=["escape", secret(), str(os.getpid())]), check=True, stdout=f)
    pid = pid_of("a")
    vt.until(lambda: not alive(pid), "it ends")
    with open(out, encoding="ascii") as f:
        judge(f.read())


# ---- what is refused ----

@test("unsafe folders: each is refused, and nothing is made")
def _():
    needs_root()
    program = os.path.dirname(os.path.dirname(root("a")))
    elsewhere = os.path.join(vt.tmp(), "elsewhere")
    os.mkdir(elsewhere)

    def case(words, *steps):
        shutil.rmtree(base())
        base()
        for step in steps:
            step()
        before = sorted(tree(vt.tmp()))  # folders that were there may have got their owner
        refused(words, "a")
        vt.same(sorted(tree(vt.tmp())), before, words)

    def made(path, mode=0o755, uid=0):
        return lambda: (os.makedirs(path, exist_ok=True), os.chmod(path, mode), os.chown(path, uid, 0))

    def link(path, *above):
        return lambda: ([os.makedirs(a) for a in above], os.symlink(elsewhere, path))

    case("'jails' (mode 0777) can be written by others", made(base(), 0o777))
    case("'jails' belongs to uid 1234", made(base(), 0o755, 1234))
    case("(mode 0775) can be written by others", made(program, 0o775))
    case("belongs to uid 61234", made(program, 0o755, UID))
    case("belongs to uid 61234", made(os.path.join(program, "a"), 0o755, UID))
    case("belongs to uid 1234", made(root("a"), 0o700, 1234))
    case("is no folder but a link", link(program))
    case("is no folder but a link", link(os.path.join(program, "a"), program))
    case("is no folder but a link", link(root("a"), os.path.join(program, "a")))
    case("is no folder but a link", link(os.path.join(root("a"), "dev"), root("a")))
    case("is no folder but a link", link(os.path.join(root("a"), "dev/net"), root("a") + "/dev"))
    case("is no folder but a link", link(os.path.join(root("a"), "run"), root("a")))
    vt.same(os.listdir(elsewhere), [], "elsewhere")


@test("the program's place in the jail: no link of either kind; a file is replaced")
def _():
    needs_root()
    victim, place = os.path.join(vt.tmp(), "victim"), os.path.join(root("a"), "jail-escape")
    os.makedirs(root("a"))
    with open(victim, "w", encoding="ascii") as f:
        f.write("precious")
    for words, make in ("is a symbolic link", os.symlink), ("is a hard link, one of 2", os.link):
        make(victim, place)
        refused(words, "a")
        os.unlink(place)
        vt.same(open(victim, encoding="ascii").read(), "precious", "the other file")
        vt.same(os.stat(victim).st_uid, 0, "its owner")
    shutil.copy(victim, place)
    with open(place, "rb") as held:  # an earlier tenant's
        run("a", rest=["show"])
        vt.same(held.read(), b"precious", "what is held open")


@test("a jail is used once; the VM in it is left alone")
def _():
    pid = jailed("a")
    before = tree(base())
    refused("is there already: this jail was used", "a")
    os.unlink(os.path.join(root("a"), "jail-escape.pid"))
    refused("'/dev/kvm' is there already", "a")
    del before["jail-escape/a/root/jail-escape.pid"]
    vt.same(tree(base()), before, "the jail")
    vt.check(alive(pid), "the VM has ended")


@test("programs that cannot be run: one message, and no jail")
def _():
    needs_root()
    text = os.path.join(vt.tmp(), "text")
    with open(text, "w", encoding="ascii") as f:
        f.write("hello\n")
    refused("it is not executable (mode 0644)", "a", exe=text)
    os.chmod(text, 0o755)
    refused("it is no 64-bit ELF program", "a", exe=text)
    refused("No such file", "a", exe=text + "x")
    refused("is not in the jail: take a static program", "a", exe="/bin/true")
    vt.same(os.listdir(base()), [], "base")


@test("a dynamic program, when the client put its libraries there")
def _():
    exe = shutil.which("id")
    for path in re.findall(r"(/\S+) \(0x", subprocess.run(["ldd", exe], stdout=subprocess.PIPE,
                                                         text=True, check=True).stdout):
        os.makedirs(os.path.dirname(root("a", exe) + path), exist_ok=True)
        shutil.copy(path, root("a", exe) + path)
    # id complains of the jailer's arguments, but it is id that does
    r = subprocess.run(command("a", exe=exe), text=True, check=False, **STREAMS)
    vt.check(r.returncode == 1 and "unrecognized option '--id'" in r.stderr, r.stderr)


# ---- failures leave nothing ----

def no_program():
    """An ELF program that the kernel does not take."""
    path = os.path.join(vt.tmp(), "jail-escape")
    with open(ESCAPE, "rb") as f, open(path, "wb") as g:
        g.write(f.read(18) + b"\xff\xff" + f.read()[2:])
    os.chmod(path, 0o755)
    return path


@test("failed starts: no folder, no cgroup, no mount, and the next one works")
def _():
    needs_root()
    exe, n = no_program(), 0
    noexec = "run '/jail-escape' in the jail as uid 61234: Exec format error"
    cases = [(["--resource-limit", f"no-file={1 << 40}"], ESCAPE, "resource-limit no-file="),
             (["--resource-limit", f"no-file={1 << 40}", "--new-pid-ns"], ESCAPE, "no-file="),
             (["--resource-limit", f"no-file={1 << 40}", "--daemonize"], ESCAPE, "no-file="),
             (["--daemonize"], exe, noexec), (["--new-pid-ns"], exe, noexec),
             (["--daemonize", "--new-pid-ns"], exe, noexec)]
    if v1("pids"):
        cases += [(["--cgroup", "pids.max=9", *c[0]], *c[1:]) for c in cases]
        cases += [(["--cgroup", "pids.max=9", "--cgroup", "pids.none=1"], ESCAPE, "pids.none"),
                  (["--cgroup", "pids.max=x"], ESCAPE, "write 'x' to pids.max: Invalid")]
    for flags, program, words in cases:
        refused(words, "a", *flags, exe=program)
        vt.same((os.listdir(base()), mounts()), ([], []), f"what is left of {flags}")
        vt.check(not v1("pids") or not os.path.exists(v1("pids") + "/jail-escape/a"), "a cgroup is left")
        n += 1
    refused(noexec, "a", exe=exe)  # as the tenant it may take back what is in the jail, no more
    vt.check(os.listdir(root("a")) == [] or not os.path.exists(root("a")), tree(base()))
    jailed("a")
    vt.check(n >= 6, n)


# ---- cgroups ----

@test("cgroup version 1: a group per controller, cpuset's masks from above")
def _():
    needs_root()
    if not v1("pids") or not v1("cpuset"):
        raise vt.Skip("no hierarchies of version 1 here")
    with Cgroup(v1("pids"), v1("cpuset")) as parent:
        pid = jailed("a", "--cgroup", "pids.max=11", "--cgroup", "cpuset.cpus=0",
                     "--parent-cgroup", parent + "/below")
        got = groups_of(pid)
        vt.same((got["pids"], got["cpuset"]), (f"/{parent}/below/a",) * 2, "groups")
        vt.same(value(v1("pids"), parent, "below/a/pids.max"), "11", "pids.max")
        here = os.path.join(v1("cpuset"), parent, "below")
        vt.same(value(here, "a/cpuset.cpus"), "0", "cpuset.cpus")
        vt.same(value(here, "a/cpuset.mems"), value(v1("cpuset"), "cpuset.mems"), "cpuset.mems")
        vt.same(value(here, "cpuset.cpus"), value(v1("cpuset"), "cpuset.cpus"), "the parent's")
        vt.same(groups_of("self")["pids"], groups_of(os.getppid())["pids"], "ours")
        refused("no hierarchy of version 1 with the controller 'none'", "b", "--cgroup", "none.x=1")


@test("cgroup version 2: controllers on the way down, values, and a parent alone")
def _():
    needs_root()
    files = {"pids": ("pids.max", "11"), "memory": ("memory.high", "104857600"),
             "hugetlb": ("hugetlb.2MB.max", "4194304")}
    if not v2():
        raise vt.Skip("no hierarchy of version 2 here")
    known = [c for c in value(v2(), "cgroup.controllers").split() if c in files]
    if not known:
        raise vt.Skip("no controller of version 2 here")
    file, number = files[known[0]]
    with Cgroup(v2()) as parent:
        two = ["--cgroup-version", "2", "--parent-cgroup"]
        pid = jailed("a", *two, parent + "/vms", "--cgroup", f"{file}={number}")
        vt.same(groups_of(pid)[""], f"/{parent}/vms/a", "group")
        vt.same(value(v2(), parent, "vms/a", file), number, file)
        vt.check(known[0] in value(v2(), parent, "cgroup.subtree_control").split(), "not passed on")
        refused("there is no controller 'none'", "b", *two, parent, "--cgroup", "none.x=1")
        refused("a cgroup of version 2 that passes", "b", *two, parent + "/vms/a",
                "--cgroup", f"{file}={number}")
        os.mkdir(os.path.join(v2(), parent, "alone"))
        vt.same(groups_of(jailed("b", *two, parent + "/alone"))[""], f"/{parent}/alone", "the parent")
        own = groups_of("self")[""]
        vt.same(groups_of(jailed("c", *two, parent + "/none"))[""], own, "no parent: as it was")
        vt.same(groups_of(jailed("d", "--cgroup-version", "2"))[""], own, "none asked for")


# ---- many ----

@test("20 starts at a time; 20 of one id, of which one wins", timeout=120)
def _():
    needs_root()
    procs = [subprocess.Popen(command(f"n{i}", "--daemonize", *["--new-pid-ns"][:i % 2],
                                      rest=["wait"]), **STREAMS) for i in range(20)]
    vt.same([p.communicate()[1] for p in procs], [b""] * 20, "what they said")
    pids = [pid_of(f"n{i}") for i in range(20)]
    vt.check(all(alive(p) for p in pids) and len(set(pids)) == 20, pids)
    procs = [subprocess.Popen(command("same", "--daemonize", rest=["wait"]), **STREAMS)
             for i in range(20)]
    texts = [p.communicate()[1] for p in procs]
    vt.same(sorted(p.returncode for p in procs), [0] + [1] * 19, f"status {texts}")
    vt.check(all(b"is there already" in t for t in texts if t), texts)
    vt.check(alive(pid_of("same")), "the one that won")
    with open(root("same") + "/jail-escape", "rb") as f, open(ESCAPE, "rb") as g:
        vt.same(f.read() == g.read(), True, "its program is whole")
