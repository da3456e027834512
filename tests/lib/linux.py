# SPDX-License-Identifier: Apache-2.0
"""Linux guests: kernels, disks, scripts that run in the guest, and what its log may say."""
import json
import os
import re
import subprocess
import time

import vt
from vmm import Vmm

IMAGES = json.loads(os.environ.get("VOLT_IMAGES", "{}"))

# name: (kernel image, --boot-protocol, more words on the command line)
KERNELS = {
    "tuned-pvh": ("tuned/vmlinux", "pvh", ""),
    "tuned-linux64": ("tuned/vmlinux", "linux", ""),
    "tuned-bzImage": ("tuned/bzImage", "auto", ""),
    "bare": ("bare/vmlinux", "auto", "swiotlb=noforce reboot=k"),
    "cloud-6.1": ("cloud-6.1/vmlinuz", "auto", ""),
    "cloud-6.12": ("cloud-6.12/vmlinuz", "auto", ""),
}

# Lines of level error and above that a good boot has too: (kernel, pattern).
ALLOWED = [
    # The keyboard answers at once; but a guest whose vCPU gets no time meanwhile sees its time-out.
    ("", r"atkbd serio0: Failed to (de)?activate keyboard"),
    # There is none, and the command line says pci=off.
    ("", r"PCI: Fatal: No config space access function found"),
    # With swiotlb=noforce there is no bounce buffer to take 24-bit masks from; nothing needs one.
    ("bare", r"software IO TLB: Cannot allocate"),
    # Whether a compressed kernel has ACPI cannot be seen, so it is told of each device twice.
    ("tuned-bzImage", r"virtio-mmio virtio-mmio\.\d+: (error -16|probe with driver .* error -16)"),
    ("cloud", r"platform regulatory\.0|regulatory\.db"),
]
# Whatever level they come at.
NEVER = re.compile(r"\b(WARNING: CPU|BUG:|Oops|Call Trace|general protection|I/O error|"
                   r"soft lockup|rcu.*stall|Kernel panic|unhandled|hung task|nobody cared)")

# The end of each script: what the kernel complained of.
COMPLAINTS = """
echo "complaints:"
dmesg -r | grep -E '^<[0-3]>|WARNING: CPU|BUG:|Oops|Call Trace|I/O error|lockup|stall|nobody cared'
echo "end of complaints"
"""


def image(name):
    vt.check(name in IMAGES, f"VOLT_IMAGES does not name {name}; start this by tests/run")
    return IMAGES[name]


def master_root(name="root.ext4"):
    """A root file system that all share, to be read only."""
    master = os.path.join(vt.shared(), name)
    if not os.path.exists(master):
        # The lab reads the image over 9p, holes and all: once.
        subprocess.run(["cp", "--sparse=always", image(name), master + ".new"], check=True)
        os.rename(master + ".new", master)
    return master


def root_disk(name="root.ext4"):
    """A copy of the root file system."""
    master, path = master_root(), os.path.join(vt.tmp(), name)
    subprocess.run(["cp", "--sparse=auto", master, path], check=True)
    os.chmod(path, 0o600)
    return path


def fsck(path):
    r = subprocess.run(["e2fsck", "-fn", path], stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                       text=True, check=False)
    vt.check(r.returncode == 0, f"e2fsck: {r.stdout}")


def script_disk(text, name="script"):
    """A disk with what the guest's init is to run, filled up to whole sectors; its path."""
    data, path = text.encode(), os.path.join(vt.tmp(), name)
    with open(path, "wb") as f:
        f.write(data + b"\n" * (-len(data) % 512))
    return path


class Linux(Vmm):
    """A guest that runs a script, with its root on /dev/vda and the script on /dev/vdb.

    root None: it is elsewhere, as *args say, and the script is on /dev/vda. devices: what a
    configuration document says of devices, by its keys.
    """

    def __init__(self, kernel, script, root, *args, cpus=1, mem=256, end="poweroff", io="sync",
                 disks=(), words="", devices=None, **popen):
        name, protocol, own = KERNELS[kernel]
        self.kernel = kernel
        path = script_disk(script + COMPLAINTS, f"script-{len(os.listdir(vt.tmp()))}")
        argv = ["--kernel", image(name), "--boot-protocol", protocol, "--cpus", cpus, "--mem", mem,
                "--cmdline", "console=ttyS0 quiet panic=-1 "
                f"{'root=/dev/vda rw volt.script=/dev/vdb' if root else 'volt.script=/dev/vda'} "
                f"volt.end={end} {own} {words}".strip()]
        initrd = name.split("/")[0] + "/initrd"
        if kernel.startswith("cloud"):
            argv += ["--initrd", image(initrd)]
        if devices:
            with open(path + ".json", "w", encoding="utf-8") as f:
                json.dump(devices, f)
            argv += ["--config-file", path + ".json"]
        for disk in (*([f"{root},id=root,io={io}"] if root else []), f"{path},id=script,ro", *disks):
            argv += ["--disk", disk]
        super().__init__(*argv, *args, **popen)

    def finished(self, seconds=60):
        """The script ended with 0, the guest as asked, and its kernel complains of nothing."""
        self.wait(0, seconds)
        self.expect("volt-script: exit 0\n" in self.out(), "the script did not end with 0")
        text = self.out().split("complaints:\n")[1].split("end of complaints")[0]
        for line in text.splitlines():
            allowed = any(self.kernel.startswith(k) and re.search(p, line) for k, p in ALLOWED)
            self.expect(allowed and not NEVER.search(line), f"the guest's kernel says: {line}")
        return self

    def value(self, name):
        found = re.search(rf"^{name}=(.*)$", self.out(), re.M)
        self.expect(found, f"the guest did not say {name}=")
        return found[1]


class Talker(Linux):
    """A guest that does what it is told over its console, its root read-only."""

    LOOP = """
    stty -echo
    echo volt-listens
    while read -r line && [ "$line" != end ]; do
        eval "$line"
    done
    """

    def __init__(self, kernel, *args, words="", root="root.ext4", **kw):
        read, self.mouth = os.pipe()
        self.count = 0
        super().__init__(kernel, self.LOOP, master_root(root) + ",ro", *args, words=f"{words} ro",
                         stdin=read, **kw)
        os.close(read)

    def listens(self, seconds=40):
        self.wait_for("volt-listens\n", seconds)
        return self

    def say(self, line):
        """A line of shell whose end nobody waits for."""
        os.write(self.mouth, line.encode() + b"\n")

    def do(self, command, seconds=20, status=0):
        """The output of a shell command; its status must be this one (None: any)."""
        self.count += 1
        at, mark = len(self.out()), f"volt-did-{self.count}="
        self.say(f"{command}; echo {mark}$?.")
        said = re.compile(rf"(.*?){mark}(\d+)\.\n", re.S)
        start = time.monotonic()
        while not (found := said.search(self.out(), at)):
            self.expect(self.proc.poll() is None, f"ended before it did: {command}")
            took = time.monotonic() - start
            self.expect(took < seconds * vt.FACTOR, f"not done in {took:.0f} s: {command}")
            time.sleep(min(0.02 + took / 10, 0.3))  # each look takes CPU time from an emulated guest
        self.expect(status in (None, int(found[2])), f"status {found[2]} of: {command}")
        return found[1]

    def end(self, seconds=60):
        """The guest ends itself, and its kernel has nothing to complain of."""
        self.say("end")
        return self.finished(seconds)
