# SPDX-License-Identifier: Apache-2.0
"""Metrics: Firecracker's format to the letter when called so, ours otherwise; and what is in them is what a
guest did."""
import json
import os
import re
import signal
import time

import fcmetrics
import vt
from netns import Namespace
from vmm import BINARY, Vmm, api_client, disk, guest, payload


def _firecracker(*args, **kw):
    """The monitor, called so."""
    path = os.path.join(vt.tmp(), "firecracker")
    if not os.path.exists(path):
        os.symlink(BINARY, path)
    return Vmm("--id", "metered", *args, binary=path, **kw)


def _document(kernel, args="", **more):
    """A configuration with two disks, the payload's at first, and the metrics in a file."""
    path = os.path.join(vt.tmp(), "vm.json")
    drives = [{"drive_id": name, "path_on_host": disk(name), "is_root_device": False,
               "cache_type": "Writeback"} for name in ("rootfs", "data")]
    with open(path, "w", encoding="ascii") as f:
        json.dump({"boot-source": {"kernel_image_path": payload(kernel), "boot_args": f"root=none {args}"},
                   "drives": drives, "metrics": {"metrics_path": _path()}, **more}, f)
    return path


def _path():
    return os.path.join(vt.tmp(), "metrics")


def _total(lines):
    """{group: {name: sum over the lines}} of what is counted from line to line."""
    total = {}
    for line in lines:
        for group, fields in line.items():
            if isinstance(fields, dict):
                into = total.setdefault(group, {})
                for name, value in fields.items():
                    if isinstance(value, int):
                        into[name] = into.get(name, 0) + value
    return total


def _said(g, word="count"):
    return {name: int(value) for name, value in re.findall(rf"^{word} (\w+) (\d+)$", g.out(), re.M)}


@vt.test("called as firecracker: each line has its groups and fields, disks count what the guest did")
def _():
    config = _document("blk")
    now = time.time() * 1000
    g = _firecracker("--no-api", "--config-file", config).passed()
    lines = fcmetrics.lines(_path())
    vt.same(len(lines), 2, "lines: one at the start, one at the end")
    for line in lines:
        fcmetrics.validate(line, block=("rootfs", "data"))
        vt.check(now - 1000 < line["utc_timestamp_ms"] < time.time() * 1000 + 1000, "the time is wrong")
    total, did = _total(lines), _said(g)
    b = total["block_rootfs"]
    vt.same({"reads": b["read_count"], "read_bytes": b["read_bytes"], "writes": b["write_count"],
             "written_bytes": b["write_bytes"], "flushes": b["flush_count"]}, did, "the disk's counters")
    vt.check(b["invalid_reqs_count"] == 8 and b["execute_fails"] == 0 and b["queue_event_count"] > 50,
             f"refused requests, kicks: {b}")
    vt.same(set(total["block_data"].values()), {0}, "the disk that was not used")
    agg = lines[1]["block_rootfs"]["read_agg"]
    vt.check(agg["max_us"] > 0 and agg["min_us"] <= agg["max_us"] <= agg["sum_us"], f"latencies: {agg}")
    vcpu = total["vcpu"]
    vt.check(min(vcpu["exit_mmio_write"], vcpu["exit_mmio_read"], vcpu["exit_io_out"]) > 0
             and vcpu["failures"] == 0, f"exits: {vcpu}")
    with open(g.out_path, "rb") as f:  # the log is in it, too
        said = sum(len(line) for line in f.readlines() if not re.match(rb"\d{4}-", line))
    vt.same(total["uart"]["write_count"], said, "bytes of the serial port")
    vt.check(total["interrupts"]["triggers"] > 0, "no interrupt")


@vt.test("id and properties are in each line if they are asked for")
def _():
    path = _path()
    pmem = disk("pmem", 4096)
    config = _document("end", "end=7", pmem=[{"id": "p0", "path_on_host": pmem}],
                       metrics={"metrics_path": path, "emit_id": True,
                                "properties": {"zone": "a\"b", "n": "\u00e9"}})
    _firecracker("--no-api", "--config-file", config).passed()
    for line in fcmetrics.lines(path):
        fcmetrics.validate(line, ("id", "properties"), block=("rootfs", "data"), pmem=("p0",))
        vt.same((line["id"], line["properties"]), ("metered", {"zone": "a\"b", "n": "\u00e9"}))


@vt.test("frames that the guest sent and got are counted, and of two disks and a net the sums", timeout=90)
def _():
    host = Namespace("tuntap add dev t0 mode tap vnet_hdr", "address add 10.7.0.1/24 dev t0",
                     "link set t0 up")
    config = _document("net", **{"network-interfaces": [
        {"iface_id": "eth0", "host_dev_name": "t0", "guest_mac": "06:00:0a:07:00:02"}]})
    g = _firecracker("--no-api", "--config-file", config, netns=host)
    while g.proc.poll() is None:
        host.run("busybox", "ping", "-c", "1", "-W", "1", "10.7.0.2", status=None)
    g.passed()
    lines = fcmetrics.lines(_path())
    for line in lines:
        fcmetrics.validate(line, block=("rootfs", "data"), net=("eth0",))
    n, did, got = _total(lines)["net_eth0"], _said(g), _said(g, "got")
    vt.same((n["tx_packets_count"], n["tx_bytes_count"]), (did["tx_packets"], did["tx_bytes"]), "frames sent")
    # What was delivered before a reset the guest may not have looked at.
    vt.check(n["rx_packets_count"] >= got["rx_packets"] > 0 and n["rx_bytes_count"] >= got["rx_bytes"],
             f"frames got: {n}, {got}")
    vt.check(n["tx_queue_event_count"] > 0 and n["rx_queue_event_count"] > 0 and n["rx_tap_event_count"] > 0,
             f"events: {n}")


@vt.test("pmem and plugged memory: counted under Firecracker's names", timeout=60)
def _():
    with open(os.path.join(vt.tmp(), "pmem"), "wb") as f:
        f.write(b"pmem file")
        f.truncate((2 << 20) + 5000)
    config = _document("pmem", f"expect.bytes={(2 << 20) + 5000} read.only=0",
                       pmem=[{"id": "p0", "path_on_host": f.name}])
    _firecracker("--no-api", "--config-file", config).passed(seconds=40)
    lines = [fcmetrics.validate(line, block=("rootfs", "data"), pmem=("p0",))
             for line in fcmetrics.lines(_path())]
    p = _total(lines)["pmem_p0"]
    vt.check(p["queue_event_count"] > 0 and p["activate_fails"] == 0, f"pmem: {p}")
    os.unlink(_path())
    config = _document("hotplug", **{"memory-hotplug": {"total_size_mib": 256}})
    g = _firecracker("--no-api", "--config-file", config)
    g.proc.wait(40 * vt.FACTOR)
    lines = [fcmetrics.validate(line, block=("rootfs", "data")) for line in fcmetrics.lines(_path())]
    m = _total(lines)["memory_hotplug"]
    vt.check(m["queue_event_count"] > 0 and m["state_count"] + m["plug_count"] > 0, f"plugged memory: {m}")


def _flush(client, path):
    n = len(fcmetrics.lines(path))
    vt.same(client.request("PUT", "/actions", {"action_type": "FlushMetrics"}).status, 204, "FlushMetrics")
    lines = fcmetrics.lines(path)
    vt.same(len(lines), n + 1, "lines")
    return fcmetrics.validate(lines[-1], block=("d0",))


@vt.test("by the API: requests, pauses, the start-up; counters begin anew with each line, the rest stays")
def _():
    sock, path = os.path.join(vt.tmp(), "api"), _path()
    g = _firecracker("--api-sock", sock, "--start-time-us", int(time.monotonic() * 1e6) - 1000,
                     "--start-time-cpu-us", 1, "--parent-cpu-time-us", 1000000)
    client = api_client(sock)
    requests = [("PUT", "/drives/d0", {"drive_id": "d0", "path_on_host": disk(), "is_root_device": False}),
                ("PUT", "/metrics", {"metrics_path": path}),
                ("GET", "/", None), ("GET", "/version", None), ("GET", "/version", None),
                ("PUT", "/boot-source", {"kernel_image_path": payload("storm"),
                                         "boot_args": "root=none rounds=1000000"})]
    for method, where, body in requests:
        vt.check(client.request(method, where, body).status < 300, f"{method} {where}")
    vt.same(client.request("PUT", "/machine-config", {"vcpu_count": 99}).status, 400)
    early = client.request("GET", "/volt/stats").value
    vt.same(early["put_api_requests"]["machine_cfg_fails"], 1, "counted before the start")
    vt.same(client.request("PUT", "/actions", {"action_type": "InstanceStart"}).status, 204)
    first = fcmetrics.validate(fcmetrics.lines(path)[0], block=("d0",))
    put, get = first["put_api_requests"], first["get_api_requests"]
    vt.same({k: v for k, v in put.items() if v},
            {"drive_count": 1, "metrics_count": 1, "boot_source_count": 1, "machine_cfg_count": 1,
             "machine_cfg_fails": 1, "actions_count": 1}, "PUT requests")
    vt.same((get["instance_info_count"], get["vmm_version_count"]), (1, 2), "GET requests")
    up = first["api_server"]
    vt.check(1000 <= up["process_startup_time_us"] < 60e6
             and 1e6 <= up["process_startup_time_cpu_us"] < 61e6, f"start-up: {up}")
    g.wait_for("round 0\n")
    for state in ("Paused", "Resumed"):
        vt.same(client.request("PATCH", "/vm", {"state": state}).status, 204, state)
    second = _flush(client, path)
    vt.same(second["api_server"], up, "what is stored stays")
    vt.same({k: v for k, v in second["put_api_requests"].items() if v}, {"actions_count": 1}, "since then")
    for name in ("pause_vm", "resume_vm"):
        took = second["latencies_us"]
        vt.check(took[name] >= took["vmm_" + name] > 0, f"{name}: {took}")
    vt.check(second["block_d0"]["read_count"] > 0 and second["block_d0"]["invalid_reqs_count"] > 0
             and second["vcpu"]["exit_mmio_write"] > 0, "nothing was done")
    vt.same(client.request("PATCH", "/vm", {"state": "Paused"}).status, 204)
    _flush(client, path)
    still = _flush(client, path)
    vt.same(still["block_d0"]["read_count"], 0, "reads of a VM that stands still")
    vt.same(still["vcpu"]["exit_io_out_agg"]["sum_us"], 0, "exits of a VM that stands still")
    stats = client.request("GET", "/volt/stats").value
    whole = _total(fcmetrics.lines(path))
    vt.same(stats["d0"]["reads"], whole["block_d0"]["read_count"], "reads, live and in all lines")
    vt.same(stats["fc_vcpu 0"]["exits_mmio_write"], whole["vcpu"]["exit_mmio_write"], "exits")
    g.terminate()
    g.proc.wait(20 * vt.FACTOR)


def _ends_by(signo, status, name):
    config = _document("storm", "rounds=1000000")
    g = _firecracker("--no-api", "--config-file", config)
    g.wait_for("round 0\n")
    g.proc.send_signal(signo)
    g.wait(status)
    lines = fcmetrics.lines(_path())
    vt.same(len(lines), 2, "lines")
    last = fcmetrics.validate(lines[-1], block=("rootfs", "data"))
    vt.same({k for k, v in last["signals"].items() if v}, {name}, "signals")
    if status:
        g.expect(f"Shutting down VM after intercepting signal {int(signo)}, code 0." in g.out(), "no line")


for _signo, _status in ((signal.SIGSEGV, 150), (signal.SIGBUS, 149), (signal.SIGILL, 157),
                        (signal.SIGXCPU, 154), (signal.SIGXFSZ, 151)):
    vt.test(f"called as firecracker: {_signo.name} leaves a last line and exit code {_status}")(
        lambda s=_signo, e=_status: _ends_by(s, e, s.name.lower()))


@vt.test("called as firecracker: SIGHUP is in the last line")
def _():
    _ends_by(signal.SIGHUP, 0, "sighup")


@vt.test("volt-vmm: the file and GET /volt/stats have Volt's names, and count from the start")
def _():
    sock = os.path.join(vt.tmp(), "api")
    g = guest("storm", "--api-sock", sock, "--metrics-path", _path(), "--shutdown-timeout", 1,
              disks=[disk()], cmdline="rounds=1000000")
    client = api_client(sock)
    g.wait_for("round 0\n")
    vt.same(client.request("PUT", "/actions", {"action_type": "FlushMetrics"}).status, 204)
    one = client.request("GET", "/volt/stats").value
    g.wait_for("round 8\n")
    two = client.request("GET", "/volt/stats").value
    g.terminate()
    g.wait(19, 40)
    lines = fcmetrics.lines(_path())
    vt.same(len(lines), 3, "lines: start, flush, end")
    names = ("reads", "out_of_range", "kicks", "failures")
    rows = [[line["disk0"][n] for n in names] for line in (lines[0], lines[1], one, two, lines[2])]
    for before, after in zip(rows, rows[1:]):
        vt.check(all(a <= b for a, b in zip(before, after)), f"less than before: {rows}")
    vt.check(rows[3][0] > rows[2][0] and rows[3][3] > rows[2][3], f"nothing counted: {rows}")
    for line in lines:
        vt.same(set(line), set(two), "groups")
