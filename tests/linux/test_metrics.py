# SPDX-License-Identifier: Apache-2.0
"""What Linux counted of its disk and its network is what the metrics say; and an idle guest has little."""
import json
import os
import time

import vt
from linux import Talker
from netback import NET_TOOL, PORT, WORLD, Tap, connect, reach, serve
from vmm import api_client

MIB = 1 << 20
IDLE_SECONDS = 4


def _guest_disk(g):
    """Of /dev/vdc, see the kernel's Documentation/admin-guide/iostats.rst. A flush without data counts
    as a write, too."""
    f = [int(v) for v in g.do("grep -w vdc /proc/diskstats").split()[3:]]
    return {"reads": f[0], "read_bytes": f[2] * 512, "writes": f[4] - f[15], "written_bytes": f[6] * 512,
            "flushes": f[15]}


def _guest_net(g):
    f = [int(v) for v in g.do("grep eth0: /proc/net/dev").split(":")[1].split()]
    return {"rx_bytes": f[0], "rx_packets": f[1], "tx_bytes": f[8], "tx_packets": f[9]}


class Meter:
    """A guest, its counters and ours."""

    def __init__(self, kernel):
        sock, self.path = os.path.join(vt.tmp(), "api"), os.path.join(vt.tmp(), "metrics")
        data = os.path.join(vt.tmp(), "data")
        with open(data, "wb") as f:
            f.truncate(16 * MIB)
        self.backend = Tap()
        self.g = Talker(kernel, *self.backend.options(), "--api-sock", sock, "--metrics-path", self.path,
                        cpus=2, netns=self.backend.host, disks=[f"{data},id=data"])
        self.client = api_client(sock)
        connect(self.g, self.backend)
        reach(self.g, self.backend)

    def stats(self):
        return self.client.request("GET", "/volt/stats").value

    def same(self, ask, device, what):
        """Both have the same numbers soon: the guest counts frames when it sees that they are gone."""
        pair = [None, None]

        def compare():
            pair[0] = ask(self.g)
            ours = self.stats()[device]
            pair[1] = {name: ours[name] for name in pair[0]}
            return pair[0] == pair[1]
        try:
            vt.until(compare, what, 20)
        except AssertionError:
            self.g.expect(False, f"{what}: the guest counted {pair[0]}, we {pair[1]}")
        return pair[1]


def _sum_of_exits(stats):
    return sum(value for group, fields in stats.items() if group.startswith("vcpu")
               for name, value in fields.items() if name.startswith("exits_"))


def _run(kernel):
    m = Meter(kernel)
    g = m.g
    at_rest = m.same(_guest_disk, "data", "the disk after the boot")
    m.same(_guest_net, "net0", "the network after the boot")

    before = m.stats()
    time.sleep(IDLE_SECONDS)
    after = m.stats()
    idle = _sum_of_exits(after) - _sum_of_exits(before)
    g.expect(after["data"] == before["data"], f"an idle disk: {before['data']}, {after['data']}")
    g.expect(idle < 1000 * IDLE_SECONDS, f"{idle} exits of an idle guest")

    g.do("dd if=/dev/urandom of=/dev/vdc bs=64k count=128 conv=notrunc,fsync 2>/dev/null", 60)
    g.do("echo 3 >/proc/sys/vm/drop_caches; dd if=/dev/vdc of=/dev/null bs=64k count=192 2>/dev/null", 60)
    disk = m.same(_guest_disk, "data", "the disk after 8 MiB written and 12 MiB read")
    g.expect(disk["written_bytes"] - at_rest["written_bytes"] >= 8 * MIB
             and disk["read_bytes"] - at_rest["read_bytes"] >= 12 * MIB
             and disk["flushes"] > at_rest["flushes"], f"too little: {at_rest}, {disk}")
    took = m.stats()["data"]
    g.expect(took["write_sum_us"] >= took["write_max_us"] > 0 and took["read_sum_us"] > 0,
             f"latencies: {took}")

    serve(m.backend)
    g.do(f"net-tool put {WORLD}:{PORT} {4 * MIB}", 60)
    m.backend.world.run(NET_TOOL, "put", m.backend.inbound(), 4 * MIB)
    net = m.same(_guest_net, "net0", "the network after 4 MiB each way")
    g.expect(min(net["rx_bytes"], net["tx_bytes"]) > 4 * MIB, f"too little: {net}")
    now = m.stats()["net0"]
    g.expect(now["tx_kicks"] > 0 and now["rx_events"] > 0 and now["tx_send_sum_us"] > 0, f"network: {now}")
    g.end()
    with open(m.path, encoding="ascii") as f:
        last = json.loads(f.readlines()[-1])
    g.expect(last["data"]["written_bytes"] >= disk["written_bytes"], "the last line has less")
    print(f"{kernel}: {idle} exits in {IDLE_SECONDS} s of rest; disk {disk}; network {net}")


for KERNEL in ("tuned-pvh", "cloud-6.1"):
    vt.test(f"{KERNEL}: disk and network are what the guest counted", timeout=240)(
        lambda kernel=KERNEL: _run(kernel))
