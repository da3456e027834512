# SPDX-License-Identifier: Apache-2.0
"""virtio-pmem of Linux guests: Debian's kernels, whose drivers are modules."""
import hashlib
import json
import os
import subprocess

import vt
from linux import Linux, fsck, master_root, root_disk

KERNELS = ("cloud-6.12", "cloud-6.1")


def pmem(path, **more):
    return {"pmem": [{"id": "root", "path_on_host": path, **more}]}


def digest(path):
    with open(path, "rb") as f:
        return hashlib.file_digest(f, "sha256").hexdigest() if hasattr(hashlib, "file_digest") \
            else hashlib.sha256(f.read()).hexdigest()


def counters(path, group):
    """The last line of a metrics file."""
    with open(path, encoding="utf-8") as f:
        return json.loads(f.read().splitlines()[-1])[group]


def in_image(path, name):
    r = subprocess.run(["debugfs", "-R", f"cat {name}", path], stdout=subprocess.PIPE,
                       stderr=subprocess.DEVNULL, check=False)
    return r.stdout


WRITES = """
grep ' / ' /proc/mounts
head -c 3000000 /dev/urandom >/root/data
sync
sha256sum </root/data
for i in 1 2 3; do echo $i >>/root/log; sync; done
"""


def _root(kernel, flags, **more):
    root, metrics = root_disk(), os.path.join(vt.tmp(), "metrics")
    g = Linux(kernel, WRITES, None, "--metrics-path", metrics, cpus=2,
              words=f"rootflags={flags}" if flags else "",
              devices=pmem(root, root_device=True, **more)).finished()
    g.expect("/dev/pmem0 / ext4 rw" in g.out(), "the root is not on pmem")
    g.expect(("dax" in g.out().split("volt-script")[0]) == (flags == "dax"), "DAX is not as asked")
    fsck(root)
    g.expect(hashlib.sha256(in_image(root, "/root/data")).hexdigest() in g.out(),
             "the data is not in the file")
    vt.same(in_image(root, "/root/log"), b"1\n2\n3\n", "what the guest flushed")
    found = counters(metrics, "root")
    print(found)
    g.expect(found["flushes"] >= 4 and 0 < found["syncs"] <= found["flushes"] and
             found["failed"] == 0, "flushes were not counted")


for KERNEL in KERNELS:
    vt.test(f"{KERNEL} boots from pmem, and what it wrote is in the file", timeout=180)(
        lambda kernel=KERNEL: _root(kernel, ""))


vt.test("the same with DAX", timeout=180)(lambda: _root("cloud-6.12", "dax"))
vt.test("the same with io_uring for flushes", timeout=180)(
    lambda: _root("cloud-6.12", "", io_engine="Async"))


@vt.test("a read-only pmem root serves two guests at once, and neither changes it", timeout=240)
def _():
    before = digest(master_root())
    # What goes to a read-only page has no effect: the kernel reads it back as it was.
    script = ("cat /bin/busybox | sha256sum\n"
              "dd if=/dev/zero of=/dev/pmem0 bs=4096 count=4 seek=9 conv=notrunc,fsync 2>/dev/null\n"
              "echo 3 >/proc/sys/vm/drop_caches\n"
              "echo same=$(dd if=/dev/pmem0 bs=4096 skip=9 count=4 2>/dev/null | sha256sum)\n")
    guests = [Linux("cloud-6.12", script, None, devices=pmem(master_root(), root_device=True,
                                                             read_only=True)) for _ in range(2)]
    for g in guests:
        g.wait(0, 120)
        g.expect("volt-script: exit 0\n" in g.out(), "the script did not end with 0")
    vt.same(digest(master_root()), before, "the image")


@vt.test("a rate limit holds flushes back, and loses none", timeout=180)
def _():
    root, metrics = root_disk(), os.path.join(vt.tmp(), "metrics")
    limit = {"ops": {"size": 2, "refill_time": 1000}}
    g = Linux("cloud-6.12", "i=0; while [ $i -lt 8 ]; do echo $i >>/root/log; sync; "
              "i=$((i + 1)); done\n", None, "--metrics-path", metrics,
              devices=pmem(root, root_device=True, rate_limiter=limit)).finished(120)
    found = counters(metrics, "root")
    print(found)
    g.expect(found["throttled"] > 0 and found["limiter_events"] > 0, "nothing was held back")
    vt.same(in_image(root, "/root/log").split(), [b"%d" % i for i in range(8)], "the log")
