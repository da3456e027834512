# SPDX-License-Identifier: Apache-2.0
"""Firecracker's metrics: exactly these groups and fields, which its own validator demands, and how
the values of one line hang together. The table is independent of the monitor's."""
import json

import vt

AGGREGATE = {"min_us", "max_us", "sum_us"}


def _words(text):
    return set(text.split())


def _counted(words, fails=True):
    return {f"{w}_{end}" for w in words.split() for end in (("count", "fails") if fails else ("count",))}


BLOCK = _words("""activate_fails cfg_fails no_avail_buffer event_fails execute_fails invalid_reqs_count
flush_count queue_event_count rate_limiter_event_count update_count update_fails read_bytes write_bytes
read_count write_count rate_limiter_throttled_events io_engine_throttled_events remaining_reqs_count
read_agg write_agg""")
NET = _words("""activate_fails cfg_fails no_rx_avail_buffer no_tx_avail_buffer event_fails
rx_queue_event_count rx_event_rate_limiter_count rx_rate_limiter_throttled rx_tap_event_count rx_bytes_count
rx_packets_count rx_fails rx_count tap_read_fails tap_write_fails tx_bytes_count tx_malformed_frames tx_fails
tx_count tx_packets_count tx_queue_event_count tx_rate_limiter_event_count tx_rate_limiter_throttled
tx_spoofed_mac_count tx_remaining_reqs_count tap_write_agg""")
PMEM = _words("""activate_fails cfg_fails event_fails queue_event_count rate_limiter_throttled_events
rate_limiter_event_count""")
SNAPSHOTS = "full_create_snapshot diff_create_snapshot load_snapshot pause_vm resume_vm"
GROUPS = {
    "api_server": _words("process_startup_time_us process_startup_time_cpu_us"),
    "balloon": _words("""activate_fails inflate_count stats_updates_count stats_update_fails deflate_count
        event_fails""") | {f"free_page_{way}_{what}" for way in ("report", "hint")
                           for what in ("count", "freed", "fails")},
    "block": BLOCK,
    "net": NET,
    "pmem": PMEM,
    "deprecated_api": {"deprecated_http_api_calls"},
    "get_api_requests": _counted("instance_info machine_cfg mmds vmm_version hotplug_memory", False),
    "put_api_requests": _counted("""actions boot_source drive logger machine_cfg cpu_cfg metrics network
        mmds vsock pmem serial hotplug_memory"""),
    "patch_api_requests": _counted("drive network machine_cfg mmds hotplug_memory pmem"),
    "i8042": _words("error_count missed_read_count missed_write_count read_count reset_count write_count"),
    "uart": _words("""error_count flush_count missed_read_count missed_write_count read_count write_count
        rate_limiter_dropped_bytes"""),
    "latencies_us": _words(SNAPSHOTS) | {f"vmm_{s}" for s in SNAPSHOTS.split()},
    "logger": _words("missed_metrics_count metrics_fails missed_log_count rate_limited_log_count"),
    "mmds": _words("""rx_accepted rx_accepted_err rx_accepted_unusual rx_bad_eth rx_invalid_token rx_no_token
        rx_count tx_bytes tx_count tx_errors tx_frames connections_created connections_destroyed"""),
    "seccomp": {"num_faults"},
    "vmm": {"panic_count"},
    "interrupts": _words("triggers config_updates"),
    "vcpu": _words("""exit_io_in exit_io_out exit_mmio_read exit_mmio_write failures kvmclock_ctrl_fails
        exit_io_in_agg exit_io_out_agg exit_mmio_read_agg exit_mmio_write_agg"""),
    "signals": _words("sigbus sigsegv sigxfsz sigxcpu sigpipe sighup sigill"),
    "vsock": _words("""activate_fails cfg_fails rx_queue_event_fails tx_queue_event_fails ev_queue_event_fails
        muxer_event_fails conn_event_fails rx_queue_event_count tx_queue_event_count rx_bytes_count
        tx_bytes_count rx_packets_count tx_packets_count conns_added conns_killed conns_removed killq_resync
        tx_flush_fails tx_write_fails rx_read_fails"""),
    "entropy": _words("""activate_fails entropy_event_fails entropy_event_count entropy_bytes host_rng_fails
        entropy_rate_limiter_throttled rate_limiter_event_count"""),
    "memory_hotplug": _words("""activate_fails queue_event_fails queue_event_count unplug_discard_fails
        state_count state_fails state_agg unplug_all_count unplug_all_fails unplug_all_agg""") |
                      {f"{way}_{what}" for way in ("plug", "unplug")
                       for what in ("count", "bytes", "fails", "agg")},
}
PARTS = ("block", "net", "pmem")


def _check_value(name, value):
    if name.endswith("_agg"):
        vt.same(set(value), AGGREGATE, f"{name}'s fields")
        value = list(value.values())
    else:
        value = [value]
    for v in value:
        vt.check(type(v) is int and 0 <= v < 2**63, f"{name} is {v!r}")


def _sum(line, group):
    """What the group must be: of aggregates the sums alone are added up."""
    total = {name: dict.fromkeys(AGGREGATE, 0) if name.endswith("_agg") else 0 for name in GROUPS[group]}
    for part in (v for k, v in line.items() if k.startswith(group + "_")):
        for name, value in part.items():
            if name.endswith("_agg"):
                total[name]["sum_us"] += value["sum_us"]
            else:
                total[name] += value
    return total


def validate(line, more=(), **devices):
    """line: parsed. more: names of what is beside the groups. devices: the ids of block, net, pmem."""
    want = dict(GROUPS)
    for group in PARTS:
        want.update({f"{group}_{i}": GROUPS[group] for i in devices.get(group, ())})
    vt.same(set(line) - set(want), {"utc_timestamp_ms", *more}, "what is beside the groups")
    for group, fields in want.items():
        vt.check(group in line, f"no group {group}")
        vt.same(set(line[group]), fields, f"the fields of {group}")
        for name, value in line[group].items():
            _check_value(f"{group}.{name}", value)
    for group in PARTS:
        vt.same(line[group], _sum(line, group), f"{group} and its parts")
    return line


def lines(path):
    """All lines of the file, each whole and parsed."""
    with open(path, encoding="utf-8") as f:
        text = f.read()
    vt.check(text.endswith("\n"), "the last line has no end")
    return [json.loads(line) for line in text.splitlines()]
