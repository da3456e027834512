# SPDX-License-Identifier: Apache-2.0
"""A Linux guest whose console is virtio's hvc0: what it says, what it is told, and its last words. And the
serial port's file."""
import json
import os

import api
import persona
import vt
from linux import Talker, image, master_root, script_disk
from vmm import PANIC

# Linux hands over 16 bytes at a time and spins until they are taken: an emulated host needs milliseconds.
LINES = 300


def _boot(*args, **kw):
    return Talker("tuned-pvh", *args, "--console-device", "virtio", words="console=hvc0", **kw)


@vt.test("hvc0 is a console: output in order, input of any length", timeout=120)
def _():
    g = _boot(cpus=2).listens()
    consoles = g.do("cat /proc/consoles")
    g.expect("hvc0" in consoles and "ttyS0" in consoles, f"/proc/consoles: {consoles}")
    got = g.do(f"seq 1 {LINES}", 60)
    g.expect(got.split() == [str(i) for i in range(1, LINES + 1)], "output was lost")
    for length in (1, 100, 1000):     # a line of a terminal has at most 4095
        said = g.do(f"x={'a' * length}; echo ${{#x}}")
        g.expect(said == f"{length}\n", f"a line of {length} arrived as {said}")
    # The serial port speaks, and goes to the same place.
    g.do("echo from-serial >/dev/ttyS0")
    g.wait_for("from-serial\n")
    g.end()


@vt.test("hvc0: the last lines of a panic are on stderr", timeout=60)
def _():
    g = Talker("tuned-pvh", "--console-device", "virtio", words="console=hvc0 init=/none")
    g.wait(PANIC, 40)
    g.expect("Kernel panic - not syncing" in g.err(), "the last lines are not on stderr")


def _serial_file(**limiter):
    """What the guest wrote to its serial port, by the file that the API was told of; the metrics."""
    sock, out, metrics = (os.path.join(vt.tmp(), n) for n in ("api", "serial", "metrics"))
    script = script_disk(f"seq 1 {LINES}\n")
    for path in (out, metrics):
        with open(path, "wb"):
            pass
    g = persona.Firecracker("--api-sock", sock, "--level", "Error", "--metrics-path", metrics)
    args = "console=ttyS0 quiet panic=-1 root=/dev/vda ro volt.script=/dev/vdb volt.end=reboot reboot=k"
    with api.Client(sock) as client:
        for path, body in (
                ("/boot-source", {"kernel_image_path": image("tuned/vmlinux"), "boot_args": args}),
                ("/drives/root", {"drive_id": "root", "path_on_host": master_root(), "is_root_device": False,
                                  "is_read_only": True}),
                ("/drives/script", {"drive_id": "script", "path_on_host": script, "is_root_device": False,
                                    "is_read_only": True}),
                ("/serial", {"serial_out_path": out, **limiter}),
                ("/actions", {"action_type": "InstanceStart"})):
            answer = client.request("PUT", path, body)
            vt.same((answer.status, answer.value), (204, None), path)
    g.wait(0, 40)
    g.expect("volt-script" not in g.out(), "the console is on standard output, too")
    with open(out, encoding="ascii") as f, open(metrics, encoding="ascii") as m:
        return f.read(), [json.loads(line)["uart"] for line in m.read().splitlines()]


@vt.test("the serial port's output goes to the file that the API names, whole", timeout=60)
def _():
    said, _ = _serial_file()
    vt.check("\n".join(str(i) for i in range(1, LINES + 1)) in said and "volt-script: exit 0" in said, said)


@vt.test("the serial port's file with a limit: what is too much is dropped and counted", timeout=60)
def _():
    said, uart = _serial_file(rate_limiter={"size": 500, "refill_time": 3600000})
    # The bucket gets a byte back every 7 s.
    vt.check(100 < len(said) <= 510, f"{len(said)} bytes: {said}")
    vt.check(sum(u["rate_limiter_dropped_bytes"] for u in uart) > 500, f"{uart}")
