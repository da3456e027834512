# SPDX-License-Identifier: Apache-2.0
"""What /proc says about a running monitor: CPU time, threads, memory beside the guest's."""
import os
import re
import time

HEAD = re.compile(r"([0-9a-f]+)-([0-9a-f]+) (\S{4}) \S+ \S+ \d+\s*(.*)$")
GUEST_RAM_RULE = ("each mapping of at least the guest's size; if there is none, each run of "
                  "adjacent writable mappings of one name that is together that large")


def read(path):
    try:
        with open(path, encoding="ascii", errors="replace") as f:
            return f.read().strip()
    except OSError:
        return ""


def cpu_ns(pid):
    """User and system time of all threads, dead or alive, by the scheduler's clock."""
    return time.clock_gettime_ns((~pid << 3) | 2)  # MAKE_PROCESS_CPUCLOCK(pid, CPUCLOCK_SCHED)


def threads_ns(pid):
    """{thread name: CPU time}; threads of one name are added up."""
    found = {}
    base = f"/proc/{pid}/task"
    for tid in os.listdir(base):
        name, spent = read(f"{base}/{tid}/comm"), read(f"{base}/{tid}/schedstat").split()
        if spent:
            found[name] = found.get(name, 0) + int(spent[0])
    return found


def vhost_ns(pid):
    """CPU time of the kernel threads that serve a process's vhost devices. (Since Linux 6.4 they are
    threads of the process itself.)"""
    spent = 0
    for other in os.listdir("/proc"):
        if other.isdigit() and read(f"/proc/{other}/comm") == f"vhost-{pid}":
            words = read(f"/proc/{other}/schedstat").split()
            spent += int(words[0]) if words else 0
    return spent


def settle(pid, limit=20.0, step=0.5):
    """Waits until the guest is idle: less than 3 % of one CPU for a step."""
    end = time.monotonic() + limit
    before = cpu_ns(pid)
    while time.monotonic() < end:
        time.sleep(step)
        now = cpu_ns(pid)
        if now - before < step * 3e7:
            return
        before = now


def available_mib():
    match = re.search(r"MemAvailable:\s+(\d+)", read("/proc/meminfo"))
    return int(match[1]) // 1024 if match else 0


def _mappings(pid):
    """[{start, end, perms, name, Size, Rss, Pss, Private}] in KiB."""
    found = []
    with open(f"/proc/{pid}/smaps", encoding="utf-8", errors="replace") as f:
        for line in f:
            m = HEAD.match(line)
            if m:
                found.append({"start": int(m[1], 16), "end": int(m[2], 16), "perms": m[3],
                              "name": m[4], "Rss": 0, "Pss": 0, "Private": 0})
                continue
            key, _, value = line.partition(":")
            if key in ("Rss", "Pss"):
                found[-1][key] = int(value.split()[0])
            elif key in ("Private_Clean", "Private_Dirty"):
                found[-1]["Private"] += int(value.split()[0])
    for m in found:
        m["Size"] = (m["end"] - m["start"]) // 1024
    return found


def _guest_ram(maps, guest_kib):
    ram = [m for m in maps if m["Size"] >= guest_kib]
    if ram:
        return ram
    run = []
    for m in maps + [None]:
        if m and run and m["start"] == run[-1]["end"] and m["name"] == run[-1]["name"] \
                and m["perms"][:2] == "rw":
            run.append(m)
            continue
        if sum(x["Size"] for x in run) >= guest_kib:
            ram += run
        run = [m] if m and m["perms"][:2] == "rw" else []
    return ram


def memory(pid, guest_kib):
    """Sums in KiB over all mappings that are not guest memory, and what they are made of."""
    maps = _mappings(pid)
    ram = _guest_ram(maps, guest_kib)
    rest = [m for m in maps if not any(m is r for r in ram)]
    kinds = {}
    for m in rest:
        if m["name"].startswith("["):
            kind = m["name"]
        elif m["name"].startswith(("/dev/zero", "/memfd:", "anon_inode:")) or not m["name"]:
            kind = "anonymous"
        else:
            kind = os.path.basename(m["name"])
        kinds[kind] = kinds.get(kind, 0) + m["Pss"]
    return {
        "overhead_pss_kib": sum(m["Pss"] for m in rest),
        "overhead_rss_kib": sum(m["Rss"] for m in rest),
        "overhead_uss_kib": sum(m["Private"] for m in rest),
        "total_pss_kib": sum(m["Pss"] for m in maps),
        "total_rss_kib": sum(m["Rss"] for m in maps),
        "guest_ram": [{"size_kib": m["Size"], "rss_kib": m["Rss"], "name": m["name"]} for m in ram],
        "by_mapping_kib": {k: v for k, v in sorted(kinds.items()) if v},
    }
