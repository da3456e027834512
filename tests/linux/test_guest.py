# SPDX-License-Identifier: Apache-2.0
"""Memory, driver resets under I/O and orderly ends of Linux guests."""
import os
import re
import subprocess
import time

import vt
from linux import Linux, fsck, root_disk
from vmm import PANIC

MEMORY = """
echo "total=$(awk '/MemTotal/ { print $2 }' /proc/meminfo)"
dmesg | grep -o 'BIOS-e820: .*usable'
"""


def _memory(kernel, mib):
    g = Linux(kernel, MEMORY, root_disk(), mem=mib).finished()
    usable = sum(int(end, 16) + 1 - int(start, 16) for start, end in
                 re.findall(r"BIOS-e820: \[mem 0x([0-9a-f]+)-0x([0-9a-f]+)\] usable", g.out()))
    # All of it but what lies between the end of low memory and 1 MiB (tables, ROM area).
    vt.same(usable, (mib << 20) - (0x100000 - 0x9fc00), "usable bytes in the memory map")
    kept = mib * 1024 - int(g.value("total"))
    # struct page is 1/64 of all; with memory above 4 GiB Linux also keeps 64 MiB for swiotlb.
    bound = 40 * 1024 + mib * 1024 // 40 + (64 * 1024 if mib > 3072 else 0)
    vt.check(0 < kept < bound, f"the kernel keeps {kept} KiB of {mib} MiB")


for KERNEL in ("tuned-pvh", "cloud-6.1"):
    for MIB in (512, 5120):
        vt.test(f"{KERNEL} sees all of its {MIB} MiB", timeout=120)(
            lambda kernel=KERNEL, mib=MIB: _memory(kernel, mib))


CHUNK, CHUNKS = 64 << 10, 160
# The node is our own: writing to a name in /dev whose device has gone would create a file there; and
# /tmp allows no devices.
RESET = f"""
bus=$(basename $(readlink -f /sys/block/vdc/device))
drv=/sys/bus/virtio/drivers/virtio_blk
node() {{
    until dev=$(cat $drv/$bus/block/*/dev 2>/dev/null) && [ -n "$dev" ]; do sleep 0.02; done
    rm -f /root/node
    mknod /root/node b $(echo $dev | tr : ' ')
}}
write() {{
    [ -b /root/node ] && yes "chunk $1" | head -c {CHUNK} |
        dd of=/root/node bs={CHUNK} seek=$1 count=1 iflag=fullblock conv=notrunc,fsync 2>/dev/null
}}
node
touch /tmp/go
(
    for n in 1 2 3 4; do
        sleep 0.4
        echo $bus >$drv/unbind
        sleep 0.05
        echo $bus >$drv/bind
        echo "reset $n"
    done
    rm /tmp/go
    echo resets=$n
) &
i=0 failed=0
while [ $i -lt {CHUNKS} ]; do
    if write $i; then
        echo flushed $i
    else
        failed=$((failed + 1))
        node
    fi
    i=$((i + 1))
    [ -e /tmp/go ] || break
done
wait
node
write {CHUNKS} || exit 5
echo flushed {CHUNKS}
echo failed=$failed
"""


@vt.test("unbinding and binding the disk's driver under I/O loses nothing that was flushed",
         timeout=240)
def _():
    for io in ("sync", "uring"):
        path = os.path.join(vt.tmp(), f"data-{io}")
        with open(path, "wb") as f:
            f.truncate(CHUNK * (CHUNKS + 1))
        g = Linux("tuned-pvh", RESET, root_disk(f"root-{io}"), cpus=2,
                  disks=[f"{path},id=data,io={io}"])
        g.wait(0, 80)
        g.expect("volt-script: exit 0\n" in g.out(), "the script did not end with 0")
        g.expect(g.value("resets") == "4", "not four resets")
        flushed = [int(n) for n in re.findall(r"^flushed (\d+)$", g.out(), re.M)]
        g.expect(len(flushed) >= 5, f"only {len(flushed)} chunks were flushed")
        with open(path, "rb") as f:
            for n in flushed:
                f.seek(n * CHUNK)
                want = (b"chunk %d\n" % n) * (CHUNK // 8 + 1)
                g.expect(f.read(CHUNK) == want[:CHUNK], f"chunk {n} was flushed but is not there")


def _sigterm(kernel):
    root = root_disk()
    # Without ACPI there is no power button (Ctrl-Alt-Del comes after a third of the time) and no
    # power off, but a reboot.
    g = Linux(kernel, "echo kept >/root/kept; echo ready; sleep 1000", root, "--shutdown-timeout",
              45, cpus=2, end="reboot" if kernel == "bare" else "poweroff")
    g.wait_for("ready\n", 30)
    started = time.monotonic()
    g.terminate()
    g.wait(0, 60)
    fsck(root)
    r = subprocess.run(["debugfs", "-R", "cat /root/kept", root], stdout=subprocess.PIPE,
                       stderr=subprocess.DEVNULL, check=False)
    vt.same(r.stdout, b"kept\n", "what the guest wrote just before")
    print(f"took {time.monotonic() - started:.1f} s")


for KERNEL in ("tuned-pvh", "cloud-6.1", "cloud-6.12", "bare"):
    vt.test(f"SIGTERM shuts {KERNEL} down, its root clean", timeout=120)(
        lambda kernel=KERNEL: _sigterm(kernel))


@vt.test("a panic of the guest's kernel ends the VM with 16", timeout=120)
def _():
    for kernel, words in (("tuned-pvh", "init=/none"), ("cloud-6.1", "rdinit=/none")):
        g = Linux(kernel, "", root_disk(kernel), words=words)
        g.wait(PANIC, 40)
        g.expect("Kernel panic - not syncing" in g.err(), "the last lines are not on stderr")
