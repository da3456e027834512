# SPDX-License-Identifier: Apache-2.0
"""Every kernel with 1, 2 and 4 vCPUs, its root on a writable disk, through a reboot."""
import vt
from linux import KERNELS, Linux, fsck, root_disk

WRITE = """
echo "cpus=$(nproc)"
grep -q ' / ext4 rw' /proc/mounts || exit 3
dd if=/dev/urandom of=/root/blob bs=1M count=64 conv=fsync 2>/dev/null || exit 4
sync
echo "bytes=$(stat -c %s /root/blob)"
echo "sum=$(md5sum </root/blob)"
"""
READ = """
echo 3 >/proc/sys/vm/drop_caches
echo "cpus=$(nproc)"
echo "sum=$(md5sum </root/blob)"
"""


def _cell(kernel, cpus, io):
    root = root_disk()
    first = Linux(kernel, WRITE, root, cpus=cpus, end="reboot", io=io).finished(90)
    vt.same(first.value("cpus"), str(cpus), "CPUs")
    vt.same(first.value("bytes"), str(64 << 20), "bytes")
    fsck(root)
    second = Linux(kernel, READ, root, cpus=cpus, end="poweroff", io=io).finished(90)
    vt.same(second.value("cpus"), str(cpus), "CPUs after the reboot")
    vt.same(second.value("sum"), first.value("sum"), "checksum after the reboot")
    fsck(root)


def _add(kernel, cpus, io):
    more = "" if io == "sync" else f", io={io}"
    vt.test(f"{kernel}, {cpus} vCPU{'s' if cpus > 1 else ''}{more}", timeout=180)(
        lambda: _cell(kernel, cpus, io))


for KERNEL in KERNELS:
    for CPUS in (1, 2, 4):
        _add(KERNEL, CPUS, "sync")
for KERNEL, CPUS in (("tuned-pvh", 2), ("cloud-6.1", 1), ("cloud-6.12", 4)):
    _add(KERNEL, CPUS, "uring")
