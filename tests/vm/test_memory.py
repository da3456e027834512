# SPDX-License-Identifier: Apache-2.0
"""Memory besides RAM on real KVM: pmem and virtio-mem, hardening on."""
import json
import os

import vt
from vmm import ERROR, disk, guest


def document(**devices):
    path = os.path.join(vt.tmp(), "devices.json")
    with open(path, "w", encoding="utf-8") as f:
        json.dump(devices, f)
    return path


def _pmem(read_only, engine="Sync"):
    size = (2 << 20) + 5000
    path, data = os.path.join(vt.tmp(), "pmem"), os.urandom(512)
    before = b"pmem file" + b"\0" * (size - 9)
    with open(path, "wb") as f:
        f.write(before)
    devices = document(pmem=[{"id": "p", "path_on_host": path, "read_only": read_only,
                              "io_engine": engine}])
    guest("pmem", "--config-file", devices, disks=[disk(fill=data)],
          cmdline=f"expect.bytes={size} read.only={int(read_only)}").passed(seconds=40)
    with open(path, "rb") as f:
        after = f.read()
    vt.same(len(after), size, "the file's size")
    if read_only:
        vt.check(after == before, "the file has changed")
    else:
        vt.check(after[64:72] == (0x4321).to_bytes(8, "little") and after[4096:4608] == data,
                 "what the guest wrote is not in the file")


vt.test("pmem: the file is memory, for CPU and disk", timeout=60)(lambda: _pmem(False))
vt.test("pmem: the same with io_uring", timeout=60)(lambda: _pmem(False, "Async"))
vt.test("pmem: nobody writes to a read-only one", timeout=60)(lambda: _pmem(True))


@vt.test("pmem: an empty file is refused, and one that another monitor has")
def _():
    path = os.path.join(vt.tmp(), "pmem")
    with open(path, "wb"):
        pass
    devices = document(pmem=[{"id": "p", "path_on_host": path}])
    g = guest("hello", "--config-file", devices).wait(ERROR)
    g.expect("is empty" in g.err(), "no message")
    with open(path, "wb") as f:
        f.truncate(4096)
    g = guest("end", "--config-file", devices, cmdline="end=7", disks=[f"{path},id=d"])
    g.wait(ERROR)
    g.expect("is in use by another process" in g.err(), "no message")


@vt.test("virtio-mem: blocks are memory while they are plugged, for CPU and disk", timeout=60)
def _():
    metrics = os.path.join(vt.tmp(), "metrics")
    devices = document(**{"memory-hotplug": {"total_size_mib": 256, "requested_size_mib": 8}})
    guest("hotplug", "--config-file", devices, "--metrics-path", metrics,
          disks=[disk()]).passed(seconds=40)
    with open(metrics, encoding="utf-8") as f:
        found = json.loads(f.read().splitlines()[-1])["memory-hotplug"]
    print(found)
    vt.same(found["plug_bytes"], found["unplug_bytes"] + found["unplug_all_bytes"], "bytes")
    vt.same(found["slots_attached"], found["slots_detached"], "slots")
    vt.check(found["slots_attached"] >= 20 and found["slot_fails"] == 0, "slots")
