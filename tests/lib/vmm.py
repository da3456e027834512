# SPDX-License-Identifier: Apache-2.0
"""Starting volt-vmm with a payload or a kernel, and looking at it from outside."""
import os
import re
import signal
import subprocess
import time

import labfault
import vt

BUILD = os.environ.get("VOLT_BUILD") or os.path.join(vt.TREE, "build-release")
BINARY = os.path.join(BUILD, "src", "volt-vmm", "volt-vmm")

OK, ERROR, PANIC, TRIPLE_FAULT, KVM_ERROR, KILLED, BAD_SYSCALL = 0, 1, 16, 17, 18, 19, 148


def payload(name):
    path = os.path.join(BUILD, "tests", "payload", "guest-" + name)
    vt.check(os.path.exists(path), f"{path} is not built")
    return path


def disk(name="disk.img", sectors=2048, fill=b""):
    path = os.path.join(vt.tmp(), name)
    with open(path, "wb") as f:
        f.write(fill)
        f.truncate(sectors * 512)
    return path


def api_client(path):
    """A client of the API socket that a volt-vmm makes at path."""
    import api  # pylint: disable=import-outside-toplevel
    return api.Client(path)


def set_state(g, client, state):
    """PATCH /vm: "Paused" or "Resumed"."""
    status, _, body = client.request("PATCH", "/vm", {"state": state})
    g.expect(status == 204, f"PATCH /vm {state}: {status} {body}")


class Vmm:
    """One volt-vmm. Its console is in a file unless stdout says otherwise; stderr always is."""

    def __init__(self, *args, stdin=subprocess.DEVNULL, stdout=None, binary=BINARY, env=None,
                 netns=None, pass_fds=(), wrap=()):
        self.args = [*wrap, binary, *map(str, args)]
        base = os.path.join(vt.tmp(), f"vmm-{time.monotonic_ns()}")
        self._out, self._out_at = "", 0
        self.out_path, self.err_path = base + ".out", base + ".err"
        with open(self.out_path, "wb") as out, open(self.err_path, "wb") as err:
            self.proc = subprocess.Popen(self.args, stdin=stdin, stdout=stdout or out, stderr=err,
                                         env=env, pass_fds=pass_fds,
                                         preexec_fn=netns.enter if netns else None)
        self.pid = self.proc.pid
        vt.witnesses.append(self.story)
        words = self.args + ["--mem", "128"]  # the default
        self.mem_mib = int(re.match(r"\d+|", words[words.index("--mem") + 1])[0] or 128)
        vt.lab_checks.append(self.look_at_lab)

    def out(self):
        """The console so far. Only what is new is read: under emulation a poll is dear."""
        with open(self.out_path, "rb", buffering=0) as f:
            f.seek(self._out_at)
            new = f.read()
        self._out_at += len(new)
        self._out += new.decode(errors="replace").replace("\r", "")
        return self._out

    def err(self):
        with open(self.err_path, "rb") as f:
            return f.read().decode(errors="replace")

    def story(self):
        return (f"command: {' '.join(self.args)}\nstatus: {self.proc.poll()}\n"
                f"console:\n{self.out()[-3000:]}\nstderr:\n{self.err()[-3000:]}")

    def look_at_lab(self):
        """Raises LabFault if the lab has lost a vCPU of this guest."""
        if self.proc.poll() is None and labfault.check(self.pid, self.mem_mib):
            raise vt.LabFault(f"the emulated processor lost the guest\n{self.story()}")

    def expect(self, condition, what):
        if not condition:
            self.look_at_lab()
        vt.check(condition, f"{what}\n{self.story()}")

    def wait_for(self, text, seconds=20):
        """Waits for text on the console."""
        start = time.monotonic()
        while text not in self.out():
            self.expect(self.proc.poll() is None, f"ended before {text!r}")
            took = time.monotonic() - start
            self.expect(took < seconds * vt.FACTOR, f"no {text!r} within {took:.0f} s")
            time.sleep(min(0.02 + took / 20, 0.2))

    def wait(self, status=0, seconds=25):
        """Waits for the end and expects this status."""
        try:
            got = self.proc.wait(seconds * vt.FACTOR)
        except subprocess.TimeoutExpired:
            self.expect(False, f"still running after {seconds * vt.FACTOR:g} s")
        self.expect(got == status, f"exit status {got}, wanted {status}")
        return self

    def passed(self, status=0, seconds=25):
        """The payload said PASS and the monitor ended so."""
        self.wait(status, seconds)
        self.expect("PASS\n" in self.out() and "FAIL" not in self.out(), "no PASS")
        return self

    def terminate(self):
        self.proc.send_signal(signal.SIGTERM)

    def fds(self):
        base = f"/proc/{self.pid}/fd"
        return sorted(os.readlink(os.path.join(base, n)).split(":")[0] for n in os.listdir(base))

    def threads(self):
        """{thread name: {field: value}} from /proc."""
        found = {}
        for tid in os.listdir(f"/proc/{self.pid}/task"):
            with open(f"/proc/{self.pid}/task/{tid}/status", encoding="ascii") as f:
                fields = dict(line.rstrip("\n").split(":\t", 1) for line in f if ":\t" in line)
            found[fields["Name"]] = dict(fields, tid=tid)
        return found


def guest(name, *args, cmdline="", cpus=1, mem=128, disks=(), protocol="linux", **kw):
    """Starts a payload; disks are --disk values."""
    argv = ["--kernel", payload(name), "--cpus", cpus, "--mem", mem, "--cmdline",
            f"root=none {cmdline}".strip()]
    if protocol:
        argv += ["--boot-protocol", protocol]
    for d in disks:
        argv += ["--disk", d]
    return Vmm(*argv, *args, **kw)
