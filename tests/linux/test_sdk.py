# SPDX-License-Identifier: Apache-2.0
"""A Go program of Firecracker's users (sdk/main.go) runs a Linux guest by `firecracker`, jailed and not.

The guest says over its console what reached it; the program judges the answers of the API.
"""
import os
import shutil

import vt
from jail import FIRECRACKER, GID, JAILER, Cgroup, v2, value
from linux import image, root_disk, script_disk
from netback import Tap

ARGS = "console=ttyS0 quiet panic=-1 root=/dev/vda rw volt.script=/dev/vdb volt.end=reboot reboot=k"
SCRIPT = r"""
ip address add 10.7.0.2/24 dev eth0; ip link set eth0 up
ip route add 169.254.169.250 dev eth0
ask() { printf "$1 HTTP/1.1\r\n$2\r\n\r\n" | nc -w 10 169.254.169.250 80 | tail -n 1; }
token=$(ask "PUT /latest/api/token" "X-metadata-token-ttl-seconds: 60")
echo "word=$(ask "GET /latest/meta-data/word" "X-metadata-token: $token")"
ping -c 3 -W 5 10.7.0.1 >/dev/null && echo "network=good"
echo "root=$(grep -c ' / ext4 rw' /proc/mounts)"
volt-vsock listen 4000 echo
"""


def _client():
    if "VOLT_SDK" not in os.environ:
        raise vt.Skip(os.environ.get("VOLT_SDK_WHY", "VOLT_SDK does not name the client; use tests/run"))
    return os.environ["VOLT_SDK"]


def _run(*more, cgroup=None):
    program, backend = _client(), Tap()
    kernel, script, root = os.path.join(vt.tmp(), "vmlinux"), script_disk(SCRIPT), root_disk()
    shutil.copyfile(image("tuned/vmlinux"), kernel)
    os.chmod(vt.tmp(), 0o711)
    if cgroup:
        os.mkdir(os.path.join(vt.tmp(), "jails"), 0o711)
        for path in (kernel, script, root):
            os.chown(path, GID, GID)
        more = (*more, "-jailer", JAILER, "-ids", GID, "-netns", f"/proc/{os.getpid()}/fd/{backend.host.fd}",
                "-cgroup", cgroup)
    try:
        said = backend.host.run(program, "-firecracker", FIRECRACKER, "-kernel", kernel, "-args", ARGS,
                                "-root", root, "-script", script, "-tap", "t0", "-dir", vt.tmp(),
                                "-wait", f"{int(30 * vt.FACTOR)}s", *more, seconds=90)
    finally:
        with open(os.path.join(vt.tmp(), "console"), encoding="utf-8", errors="replace") as f:
            console = f.read()
        print(console)
    print(said)
    vt.check(said.endswith("all good\n"), "the client did not come to its end")
    for word in ("word=zebra", "network=good", "root=1"):
        vt.check(word in console, f"the guest did not say {word}")


def _jailed():
    if not v2() or "cpuset" not in value(v2(), "cgroup.controllers").split():
        raise vt.Skip("no cgroup version 2 with cpuset here, which the SDK asks for")
    with Cgroup(v2()) as cgroup:
        _run(cgroup=cgroup)


vt.test("drives, network, vsock, balloon, MMDS, changes, Ctrl-Alt-Del", timeout=180)(_run)
vt.test("StopVMM ends it", timeout=180)(lambda: _run("-hard"))
vt.test("the same in a jail", timeout=180)(_jailed)
