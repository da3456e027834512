# SPDX-License-Identifier: Apache-2.0
"""The network part of the report: rates, latencies, CPU time a gigabit, and the goals for them."""
import netjob
from stats import median

RATE_RATIO, CPU_RATIO = 1.0, 1.0
PATHS = {"tap": "tap", "vhost": "vhost-net"}


def _lines(raw, name, path, job):
    return raw.of("net", contestant=name, path=path, job=job)


def speed(raw, name, path, job):
    """The more the better: Mbit/s, packets/s, or requests a second (of the median)."""
    found = _lines(raw, name, path, job)
    if job == "rr":
        return [1e9 / x["p50_ns"] for x in found]
    scale = 1 if job.startswith("udp") else 8e-6
    return [x["amount"] * scale / x["seconds"] for x in found]


def cost(raw, name, path, job):
    """CPU milliseconds a gigabit, or microseconds a packet; the guest's own time is in it."""
    if job == "rr":
        return []
    scale = 1e-3 if job.startswith("udp") else 1e-6 / 8e-9
    return [x["cpu_ns"] * scale / x["amount"] for x in _lines(raw, name, path, job)]


def _measured(raw):
    return [(path, job) for path in PATHS for job in netjob.JOBS
            if all(_lines(raw, name, path, job) for name in ("volt", "qemu"))]


def _what(path, job):
    text = netjob.JOBS[job][0]
    return text if job.startswith("vsock") else f"{PATHS[path]}: {text}"


def goals(raw, with_interval, verdict):
    """Rows of the table of goals; the two functions are the report's."""
    rows = []
    for path, job in _measured(raw):
        got, text = with_interval(speed(raw, "volt", path, job), speed(raw, "qemu", path, job))
        rows.append([f"{_what(path, job)}, times QEMU's "
                     + ("requests a second" if job == "rr" else "rate"), text,
                     f">= {RATE_RATIO}", verdict(got >= RATE_RATIO)])
    for path, job in _measured(raw):
        if job != "rr":
            got, text = with_interval(cost(raw, "volt", path, job), cost(raw, "qemu", path, job))
            rows.append([f"{_what(path, job)}, CPU a "
                         + ("packet" if job.startswith("udp") else "gigabit")
                         + ", times QEMU's", text, f"<= {CPU_RATIO}", verdict(got <= CPU_RATIO)])
    return rows


def rows(raw, title):
    """The table of all contestants, without its head."""
    found = []
    for path in PATHS:
        for job, (_, unit) in netjob.JOBS.items():
            for name in raw.names():
                lines = _lines(raw, name, path, job)
                if not lines:
                    continue
                cpu = cost(raw, name, path, job)
                if job == "rr":
                    value = [x["p50_ns"] / 1000 for x in lines]
                    more = f"p99 {median(x['p99_ns'] for x in lines) / 1000:.0f} us"
                else:
                    value = speed(raw, name, path, job)
                    more = f"{median(cpu):.1f} " + ("us a packet" if unit == "packets/s" else
                                                    "ms a Gbit")
                found.append([f"{_what(path, job)}, {title(name)}", len(value), unit,
                              f"{median(value):.0f}", f"{min(value):.0f}", f"{max(value):.0f}",
                              more])
    return found
