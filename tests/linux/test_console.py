# SPDX-License-Identifier: Apache-2.0
"""A Linux guest whose console is virtio's hvc0: what it says, what it is told, and its last words."""
import vt
from linux import Talker
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
