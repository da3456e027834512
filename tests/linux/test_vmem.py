# SPDX-License-Identifier: Apache-2.0
"""virtio-mem of Linux guests: memory that comes and goes."""
import hashlib
import json
import os

import api
import vt
from linux import Linux, Talker, root_disk

MIB = 512
WORDS = "memhp_default_state=online_movable"


def hotplug(wanted=0, total=1024):
    return {"memory-hotplug": {"total_size_mib": total, "requested_size_mib": wanted}}


def resident(pid):
    """MiB of the host that the monitor has, the guest's memory included."""
    with open(f"/proc/{pid}/smaps_rollup", encoding="ascii") as f:
        return int(next(line for line in f if line.startswith("Rss:")).split()[1]) // 1024


def counters(path):
    with open(path, encoding="utf-8") as f:
        return json.loads(f.read().splitlines()[-1])["memory-hotplug"]


# Fills what was plugged with data from a disk, and writes some of it back. Memory of user space comes
# from there first, so that dd's buffers, which the disk reads and writes directly, are in it too.
IO = """
echo plugged=$(awk '/MemTotal/ { printf "%d", $2 / 1024 }' /proc/meminfo)
mount -t tmpfs -o size=480m none /mnt
i=0
while [ $i -lt 7 ]; do
    dd if=/dev/vdc of=/mnt/$i bs=1M iflag=direct 2>/dev/null || exit 3
    i=$((i + 1))
done
sha256sum </mnt/0  # all would take minutes under emulation
sha256sum </mnt/6
dd if=/mnt/6 of=/dev/vdd bs=1M oflag=direct 2>/dev/null || exit 5
echo full
sleep 1
umount /mnt
"""


def _at_boot(kernel):
    """The guest plugs what the configuration asks for, uses it for I/O, unplugs it when told to."""
    source, target = os.path.join(vt.tmp(), "source"), os.path.join(vt.tmp(), "target")
    metrics, sock = os.path.join(vt.tmp(), "metrics"), os.path.join(vt.tmp(), "api.sock")
    with open(source, "wb") as f:
        f.write(os.urandom(64 << 20))
    with open(target, "wb") as f:
        f.truncate(64 << 20)
    script = IO + """
while left=$(awk '/MemTotal/ { printf "%d", $2 / 1024 }' /proc/meminfo); [ $left -ge 256 ]; do
    sleep 0.2
done
echo left=$left
"""
    g = Linux(kernel, script, root_disk(), "--metrics-path", metrics, "--api-sock", sock, cpus=2,
              mem=256, words=WORDS, disks=[f"{source},id=source,ro", f"{target},id=target"],
              devices=hotplug(MIB))
    g.wait_for("full\n", 120)
    full = resident(g.pid)
    client = _client(g, sock)
    vt.same(client.request("PATCH", "/hotplug/memory", {"requested_size_mib": 0})[0], 204, "PATCH")
    g.finished(120)
    g.expect(int(g.value("plugged")) > MIB + 150, "the memory was not plugged")
    g.expect(full > 448 + 50, f"only {full} MiB of the host are in use by a guest that uses more")
    with open(source, "rb") as f:
        g.expect(g.out().count(hashlib.sha256(f.read()).hexdigest()) == 2, "wrong bytes were read")
    with open(source, "rb") as a, open(target, "rb") as b:
        g.expect(a.read() == b.read(), "what was written from there is not what was read into it")
    found = counters(metrics)
    print(found)
    g.expect(found["plug_bytes"] == found["unplug_bytes"] == MIB << 20,
             "512 MiB were not plugged and unplugged")
    g.expect(found["slots_attached"] >= 4 and found["slots_detached"] >= 4, "slots")
    g.expect(found["discard_fails"] == found["slot_fails"] == found["malformed"] == 0, "failures")


for KERNEL in ("cloud-6.12", "cloud-6.1"):
    vt.test(f"{KERNEL} plugs {MIB} MiB, does I/O in them and gives them back", timeout=300)(
        lambda kernel=KERNEL: _at_boot(kernel))


def _client(g, path):
    vt.until(lambda: os.path.exists(path) or g.proc.poll() is not None, "the API socket")
    return api.Client(path)


def _by_api(kernel):
    sock = os.path.join(vt.tmp(), "api.sock")
    g = Talker(kernel, "--api-sock", sock, cpus=2, mem=256, words=WORDS, devices=hotplug())
    client = _client(g, sock)

    def status():
        code, _, body = client.request("GET", "/hotplug/memory", None)
        vt.same(code, 200, "GET /hotplug/memory")
        return body

    def want(mib):
        code, _, body = client.request("PATCH", "/hotplug/memory", {"requested_size_mib": mib})
        vt.check(code == 204, f"PATCH: {code} {body}")
        vt.until(lambda: status()["plugged_size_mib"] == mib, f"{mib} MiB plugged", 60)

    g.listens()
    base = int(g.do("awk '/MemTotal/ { print $2 }' /proc/meminfo")) // 1024
    vt.same(status(), {"block_size_mib": 2, "total_size_mib": 1024, "slot_size_mib": 128,
                       "plugged_size_mib": 0, "requested_size_mib": 0}, "status")
    want(MIB)
    more = int(g.do("awk '/MemTotal/ { print $2 }' /proc/meminfo")) // 1024 - base
    g.expect(MIB - 16 <= more <= MIB, f"the guest sees {more} MiB more")
    g.do("mount -t tmpfs -o size=450m none /mnt && head -c 400m /dev/zero >/mnt/x", 120)
    full = resident(g.pid)
    g.do("umount /mnt; echo 3 >/proc/sys/vm/drop_caches")
    want(0)
    less = resident(g.pid)
    print(f"host: {full} MiB when plugged and full, {less} MiB when unplugged")
    g.expect(full - less > 300, f"the host got back only {full - less} MiB")
    want(64)
    want(0)
    code, _, body = client.request("PATCH", "/hotplug/memory", {"requested_size_mib": 1026})
    vt.same((code, body["fault_message"].split(": ")[0]), (400, "Memory hotplug update error"))
    g.end()


for KERNEL in ("cloud-6.12", "cloud-6.1"):
    vt.test(f"{MIB} MiB are added to {KERNEL} and removed by the API", timeout=300)(
        lambda kernel=KERNEL: _by_api(kernel))
