# SPDX-License-Identifier: Apache-2.0
"""A host that cannot run VMs: one message that says why and what to do, exit status 1."""
import os
import re
import subprocess

import vt
from vmm import BINARY, payload
from test_config import as_nobody_can, errors

# In a mount namespace of its own a test may have any /dev it likes.
NO_DEV = "mount -t tmpfs tmpfs /dev && mknod -m 666 /dev/null c 1 3"


def _root():
    if os.geteuid() != 0:
        raise vt.Skip("needs root, for a mount namespace and another user")


def _run(argv):
    r = subprocess.run(argv, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                       stderr=subprocess.PIPE, text=True, check=False, timeout=60)
    lines = errors(r.stderr)
    vt.same(r.returncode, 1, f"exit status (stderr {r.stderr!r})")
    vt.same(len(lines), 1, f"number of messages {lines}")
    return lines[0]


def _in_namespace(prepare, *args):
    command = " ".join([BINARY, "--kernel", payload("hello"), *args])
    return _run(["unshare", "--mount", "sh", "-c", f"{prepare} && exec {command}"])


@vt.test("/dev/kvm is missing: the message names it and the lab")
def _():
    _root()
    message = _in_namespace(NO_DEV)
    vt.check("/dev/kvm" in message and "missing" in message and "lab" in message, message)


@vt.test("/dev/kvm is a device without a driver")
def _():
    _root()
    message = _in_namespace(NO_DEV + " && mknod /dev/kvm c 240 77")
    vt.check("/dev/kvm" in message, message)


@vt.test("/dev/kvm is not KVM")
def _():
    _root()
    message = _in_namespace("mount --bind /dev/null /dev/kvm")
    vt.check("/dev/kvm" in message, message)


@vt.test("/dev/kvm is not permitted: the message names the group")
def _():
    _root()
    os.chmod(vt.tmp(), 0o755)
    binary, kernel = as_nobody_can(BINARY), as_nobody_can(payload("hello"))
    message = _run(["unshare", "--mount", "sh", "-c",
                    f"{NO_DEV} && mknod -m 600 /dev/kvm c 10 232 && exec setpriv --reuid=65534 "
                    f"--regid=65534 --clear-groups {binary} --kernel {kernel}"])
    vt.check("Permission denied" in message and "group" in message, message)


@vt.test("software KVM and a Linux kernel: one message that says so and names the lab", timeout=300)
def _():
    with open("/proc/cpuinfo", encoding="ascii") as f:
        if re.search(r"^flags\s*:.*\b(vmx|svm)\b", f.read(), re.M):
            raise vt.Skip("this machine has VT-x or AMD-V")
    if not os.path.exists("/dev/kvm"):
        raise vt.Skip("this machine has no /dev/kvm, not even one in software")
    r = subprocess.run([os.path.join(vt.TREE, "images", "get"), "cloud-6.1/vmlinuz"], text=True,
                       stdout=subprocess.PIPE, stderr=subprocess.PIPE, check=False)
    vt.check(r.returncode == 0, r.stderr)
    message = _run([BINARY, "--kernel", r.stdout.strip()])
    vt.check("software" in message and "lab" in message, message)
