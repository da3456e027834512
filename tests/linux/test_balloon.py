# SPDX-License-Identifier: Apache-2.0
"""The balloon: what Linux gives up, reports or hints leaves the monitor's memory, and nothing else does.

The host's kernel is the judge: how much of the guest's RAM, the largest mapping of the monitor, it holds.
"""
import json
import os
import re
import subprocess
import time

import vt
from linux import Talker
from vmm import BINARY

MEM = 192
TARGET = 96
LEFT = 20  # MiB that the guest keeps free when it fills its memory

# The guest's side: fills its memory and gives it back, keeps a file whose content it knows, and
# takes the driver away and back.
TOOLS = "; ".join((
    "mkdir -p /tmp/m && mount -t tmpfs -o size=1g none /tmp/m",
    "drv=/sys/bus/virtio/drivers/virtio_balloon",
    "dev=$(basename $(ls -d $drv/virtio*))",
    'mib() { awk "/^$1:/ { print int(\\$2 / 1024) }" /proc/meminfo; }',
    f"fill() {{ head -c $(($(mib MemAvailable) - {LEFT}))m /dev/zero >/tmp/m/fill; }}",
    # Pages that Linux has ever put into its balloon.
    "inflated() { awk '/^balloon_inflate/ { print $2 }' /proc/vmstat; }",
    "until_inflated() { while [ $(inflated) -lt $1 ]; do sleep 0.3; done; }",
    "keep() { head -c 8m /dev/urandom >/tmp/m/kept && md5sum /tmp/m/kept >/tmp/m/sum; }",
))


def rss(g):
    """MiB of the guest's RAM that the host holds."""
    with open(f"/proc/{g.pid}/smaps", encoding="utf-8", errors="replace") as f:
        sizes = re.findall(r"^Size: +(\d+) kB\n(?:.*\n)*?Rss: +(\d+) kB", f.read(), re.M)
    return max((int(size), int(held)) for size, held in sizes)[1] / 1024


def falls(g, most, what, seconds=10):
    """Waits until the host holds at most so many MiB; how long it took."""
    start = time.monotonic()
    while rss(g) > most:
        took = time.monotonic() - start
        g.expect(took < seconds * vt.FACTOR, f"{what}: after {took:.0f} s the host holds {rss(g):.0f} MiB, "
                 f"not {most:.0f}")
        time.sleep(0.1)
    return time.monotonic() - start


def start(kernel, *args, **balloon):
    """A guest that has the tools, with this balloon."""
    path = os.path.join(vt.tmp(), "balloon.json")
    with open(path, "w", encoding="ascii") as f:
        json.dump({"balloon": {"amount_mib": 0, "deflate_on_oom": False, **balloon}, "entropy": {}}, f)
    g = Talker(kernel, "--config-file", path, "--metrics-path", os.path.join(vt.tmp(), "metrics"), *args,
               mem=MEM)
    g.listens()
    g.do(TOOLS)
    return g


def counters(g):
    """The balloon's, at the end of the VM."""
    g.end()
    with open(os.path.join(vt.tmp(), "metrics"), encoding="ascii") as f:
        return json.loads(f.readlines()[-1])["balloon"]


def full(g):
    """The guest has touched nearly all of its memory, and given it back to its own kernel."""
    g.do("fill", 120)
    filled = int(g.do("stat -c %s /tmp/m/fill")) >> 20
    held = rss(g)
    g.do("rm /tmp/m/fill")
    g.expect(held > MEM - 2 * LEFT, f"the guest filled {filled} MiB, the host holds {held:.0f}")
    return held


def _inflate(kernel):
    g = start(kernel, amount_mib=TARGET)
    g.do(f"until_inflated {TARGET * 256}", 60)
    g.expect(rss(g) <= MEM - TARGET, f"the host holds {rss(g):.0f} MiB in spite of {TARGET} in the balloon")
    g.do("echo $dev >$drv/unbind", 60)
    g.expect(int(g.do("mib MemTotal")) > MEM - TARGET + 40, "the guest did not take its memory back")
    g.do("keep", 60)
    before = full(g)
    started = time.monotonic()
    g.do("echo $dev >$drv/bind", 60)
    g.do(f"until_inflated {2 * TARGET * 256}", 60)
    took = time.monotonic() - started
    falls(g, MEM - TARGET, "inflating", 20)
    after = rss(g)
    g.expect(before - after > 0.75 * TARGET, f"only from {before:.0f} to {after:.0f} MiB")
    g.do("md5sum -c /tmp/m/sum", 60)
    g.do("echo $dev >$drv/unbind", 60)
    c = counters(g)
    print(f"{kernel}: {before:.0f} to {after:.0f} MiB in {took:.1f} s; {c}")
    g.expect(min(c["inflated_pages"], c["deflated_pages"]) >= 2 * TARGET * 256, f"counters: {c}")
    g.expect(c["skipped_pages"] + c["discard_errors"] + c["malformed"] == 0, f"counters: {c}")


def _report(kernel):
    g = start(kernel, free_page_reporting=True)
    g.do("keep", 60)
    before = full(g)
    took = falls(g, MEM - TARGET, "reporting", 10)
    print(f"{kernel}: {before:.0f} to {rss(g):.0f} MiB in {took:.1f} s")
    full(g)  # what went away comes back when it is needed
    g.do("md5sum -c /tmp/m/sum", 60)
    c = counters(g)
    print(c)
    g.expect(c["report_bytes"] > TARGET << 20 and c["report_errors"] + c["malformed"] == 0, f"counters: {c}")


for KERNEL in ("tuned-pvh", "cloud-6.1"):
    vt.test(f"{KERNEL} inflates: the host holds that much less, and the guest's data stay", timeout=300)(
        lambda kernel=KERNEL: _inflate(kernel))
    vt.test(f"{KERNEL} reports what it has freed within 10 s", timeout=240)(
        lambda kernel=KERNEL: _report(kernel))


@vt.test("the guest takes memory back from the balloon before it kills; statistics come all the time",
         timeout=240)
def _():
    g = start("tuned-pvh", amount_mib=TARGET, deflate_on_oom=True, stats_polling_interval_s=1)
    g.do(f"until_inflated {TARGET * 256}", 60)
    g.do("head -c 100m /dev/zero >/tmp/m/fill", 120)
    g.expect(int(g.do("stat -c %s /tmp/m/fill")) == 100 << 20, "the file is not there")
    time.sleep(3)
    c = counters(g)
    print(c)
    g.expect(c["inflated_pages"] >= TARGET * 256, f"counters: {c}")
    g.expect(c["deflated_pages"] >= 20 * 256, f"nothing was taken back: {c}")
    g.expect(c["stats_updates"] >= 3 and c["stats_failed"] == 0, f"counters: {c}")


# ---- through the API ----

class Asked:
    """A guest with an API socket, and what is asked there."""

    def __init__(self, kernel, **balloon):
        text = subprocess.run([BINARY, "--help"], capture_output=True, text=True, check=True).stdout
        if "--api-sock" not in text:
            raise vt.Skip("volt-vmm has no --api-sock yet")
        import api  # pylint: disable=import-outside-toplevel
        path = os.path.join(vt.tmp(), "api.sock")
        self.g = start(kernel, "--api-sock", path, **balloon)
        self.client = api.Client(path)

    def ask(self, method, path, body=None, status=200):
        got, _, answer = self.client.request(method, path, body)
        self.g.expect(got == status, f"{method} {path}: {got} {answer}")
        return answer

    def statistics(self):
        return self.ask("GET", "/balloon/statistics")


@vt.test("API: the target goes up and down, and the host's memory follows", timeout=300)
def _():
    a = Asked("tuned-pvh", stats_polling_interval_s=1)
    g = a.g
    g.do("keep", 60)
    before = full(g)
    for target in (TARGET, TARGET // 2):
        a.ask("PATCH", "/balloon", {"amount_mib": target}, 204)
        vt.same(a.ask("GET", "/balloon")["amount_mib"], target, "target")
        vt.until(lambda want=target: a.statistics()["actual_mib"] == want, "the balloon has its size", 60)
        falls(g, MEM - target, "inflating", 20)
        print(f"{before:.0f} to {rss(g):.0f} MiB")
        g.do("md5sum -c /tmp/m/sum", 60)
    a.ask("PATCH", "/balloon", {"amount_mib": 0}, 204)
    vt.until(lambda: a.statistics()["actual_pages"] == 0, "the balloon is empty", 60)
    full(g)
    a.ask("PATCH", "/balloon", {"amount_mib": MEM + 1}, 400)
    vt.same(a.statistics()["target_pages"], 0, "target")
    g.do("md5sum -c /tmp/m/sum", 60)
    g.end()


@vt.test("API: statistics are the guest's own, and the interval can be changed", timeout=240)
def _():
    a = Asked("tuned-pvh", stats_polling_interval_s=1)
    g = a.g
    kib = int(g.do("awk '/^MemTotal:/ { print $2 }' /proc/meminfo"))
    vt.until(lambda: a.statistics().get("total_memory") == kib << 10, "the total is the guest's", 20)
    free = a.statistics()["free_memory"]
    g.do("head -c 64m /dev/zero >/tmp/m/fill", 60)
    vt.until(lambda: a.statistics()["free_memory"] < free - (48 << 20), "what is free falls", 20)
    a.ask("PATCH", "/balloon/statistics", {"stats_polling_interval_s": 3600}, 204)
    vt.same(a.ask("GET", "/balloon")["stats_polling_interval_s"], 3600, "interval")
    a.ask("PATCH", "/balloon/statistics", {"stats_polling_interval_s": 0}, 400)
    g.end()


@vt.test("API: a run of hinting gives all free memory back", timeout=240)
def _():
    a = Asked("tuned-pvh", free_page_hinting=True)
    g = a.g
    g.do("keep", 60)
    for ack in (True, False):
        before = full(g)
        a.ask("PATCH", "/balloon/hinting/start", {"acknowledge_on_stop": ack}, 204)
        command = a.ask("GET", "/balloon/hinting/status")["host_cmd"]
        vt.until(lambda: a.ask("GET", "/balloon/hinting/status")["guest_cmd"] == 0, "all is told", 30)
        falls(g, MEM - TARGET, "hinting", 20)
        print(f"{before:.0f} to {rss(g):.0f} MiB")
        status = a.ask("GET", "/balloon/hinting/status")
        vt.same(status["host_cmd"], 1 if ack else command, "command")
        if not ack:
            a.ask("PATCH", "/balloon/hinting/stop", None, 204)
            vt.same(a.ask("GET", "/balloon/hinting/status")["host_cmd"], 1, "command")
    full(g)  # the guest has its pages back
    g.do("md5sum -c /tmp/m/sum", 60)
    g.end()
