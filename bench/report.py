#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""Makes table.md, report.md and the plots of a benchmark run from its raw data.

    bench/report.py DIR      again, from DIR/raw.jsonl

Everything in them is computed here from the raw lines, so it can be recomputed and disputed.
"""
import os
import sys

sys.dont_write_bytecode = True
sys.path.insert(0, os.path.dirname(os.path.realpath(__file__)))

import fiojob  # noqa: E402
import netreport  # noqa: E402
import plots  # noqa: E402
from stats import Raw, median, percentile, ratio  # noqa: E402

TITLES = {"volt": "volt-vmm", "qemu": "QEMU microvm"}
# The wanted figures. The first three compare with QEMU microvm in the same run.
INIT_RATIO, MEMORY_MIB, FIO_RATIO, BINARY_KIB, KVM_RUN_MS = 0.7, 1.5, 1.0, 400, 2.0
API_WALL_MS, API_CPU_MS, API_P99_MS = 2.0, 1.0, 5.0


def title(name):
    return TITLES.get(name, name)


def table(head, rows):
    """A Markdown table; all columns but the first are numbers."""
    lines = ["| " + " | ".join(head) + " |", "|---|" + "---:|" * (len(head) - 1)]
    return "\n".join(lines + ["| " + " | ".join(map(str, row)) + " |" for row in rows])


def verdict(met):
    return "met" if met else "**NOT met**"


def with_interval(ours, theirs):
    """The ratio, with its interval if there are enough runs for one."""
    got = ratio(ours, theirs)
    text = f"{got[0]:.2f} ({got[1]:.2f} to {got[2]:.2f})" if min(len(ours), len(theirs)) > 4 \
        else f"{got[0]:.2f} (too few runs for an interval)"
    return got[0], text


def disk_goal(raw, job):
    """Our best engine against QEMU's best."""
    def best(name):
        found = [(median(raw.fio(n, io, job, "iops")), io) for n, io in raw.engines() if n == name]
        return max(found) if found else None

    ours, theirs = best("volt"), best("qemu")
    if not ours or not theirs:
        return None
    got, text = with_interval(raw.fio("volt", ours[1], job, "iops"),
                              raw.fio("qemu", theirs[1], job, "iops"))
    return [f"disk {job}, {ours[1]} against {theirs[1]}, times QEMU's rate", text,
            f">= {FIO_RATIO}", verdict(got >= FIO_RATIO)]


def goals(raw):
    rows = []
    ours, theirs = raw.boot_ms("volt", "init_ns"), raw.boot_ms("qemu", "init_ns")
    if ours and theirs:
        got, text = with_interval(ours, theirs)
        rows.append(["exec to init, median, times QEMU's", text, f"<= {INIT_RATIO}",
                     verdict(got <= INIT_RATIO)])
    memory = raw.memory("volt")
    if memory:
        mib = median(m["overhead_pss_kib"] for m in memory) / 1024
        rows.append(["memory beside the guest's, PSS, MiB", f"{mib:.2f}", f"<= {MEMORY_MIB}",
                     verdict(mib <= MEMORY_MIB)])
    rows += [row for row in (disk_goal(raw, job) for job in fiojob.JOBS) if row]
    rows += netreport.goals(raw, with_interval, verdict)
    size = raw.one("size", contestant="volt")
    if size:
        kib = size["stripped_bytes"] / 1024
        rows.append(["program, stripped, KiB", f"{kib:.0f}", f"<= {BINARY_KIB}",
                     verdict(kib <= BINARY_KIB)])
    start = [p["timeline"]["start"] for p in raw.of("payload")]
    if start:
        ms = median(start)
        rows.append([f"exec to KVM_RUN on this machine, median of {len(start)}, ms", f"{ms:.2f}",
                     f"<= {KVM_RUN_MS:g}", verdict(ms <= KVM_RUN_MS)])
    for field, what, wanted in (("wall_ns", "start to the API's first answer", API_WALL_MS),
                                ("cpu_ns", "CPU time until then", API_CPU_MS)):
        got = [x[field] / 1e6 for x in raw.of("api", contestant="volt")]
        if got:
            rows.append([f"{what}, median of {len(got)}, ms", f"{median(got):.2f}",
                         f"<= {wanted:g}", verdict(median(got) <= wanted)])
    load = raw.one("api-load", contestant="volt")
    if load:
        ms = percentile(load["took_ns"], 99) / 1e6
        rows.append([f"an answer of the API to one of ten clients, p99 of {len(load['took_ns'])}, ms",
                     f"{ms:.2f}", f"<= {API_P99_MS:g}", verdict(ms <= API_P99_MS)])
    return table(["goal", "got", "wanted", "verdict"], rows)


def boots(raw):
    head = ["ms", "runs", "p50", "p90", "p99", "min", "max"]
    rows = []
    for until, what in (("entry_ns", "exec to first guest instruction"),
                        ("init_ns", "exec to init")):
        for name in raw.names():
            v = raw.boot_ms(name, until)
            if v:
                rows.append([f"{what}, {title(name)}", len(v),
                             *(f"{percentile(v, p):.1f}" for p in (50, 90, 99)), f"{min(v):.1f}",
                             f"{max(v):.1f}"])
    for name in raw.names():
        v = [b["cpu_ns"] / 1e6 for b in raw.of("boot", contestant=name)]
        if v:
            rows.append([f"CPU time (user, system, guest) to init, {title(name)}", len(v),
                         *(f"{percentile(v, p):.1f}" for p in (50, 90, 99)), f"{min(v):.1f}",
                         f"{max(v):.1f}"])
    return table(head, rows)


def memory(raw):
    rows = []
    for name in raw.names():
        found = raw.memory(name)
        if found:
            rows.append([f"{title(name)}, one VM", len(found),
                         *(f"{median(m[k] for m in found):.0f}" for k in
                           ("overhead_pss_kib", "overhead_uss_kib", "overhead_rss_kib",
                            "total_rss_kib"))])
        many = raw.one("many", contestant=name)
        if many:
            mean = {k: sum(m[k] for m in many["memory"]) / many["count"] for k in many["memory"][0]
                    if k.endswith("_kib") and k != "by_mapping_kib"}
            rows.append([f"{title(name)}, each of {many['count']} at once", many["count"],
                         *(f"{mean[k]:.0f}" for k in ("overhead_pss_kib", "overhead_uss_kib",
                                                       "overhead_rss_kib", "total_rss_kib"))])
    return table(["KiB beside guest memory", "samples", "PSS", "USS", "RSS",
                  "RSS with guest memory"], rows)


def mappings(raw):
    """What our own overhead consists of."""
    found = raw.memory("volt")
    if not found:
        return ""
    names = sorted({k for m in found for k in m["by_mapping_kib"]},
                   key=lambda k: -median(m["by_mapping_kib"].get(k, 0) for m in found))
    return "volt-vmm's share by mapping (PSS, KiB): " + ", ".join(
        f"{n} {median(m['by_mapping_kib'].get(n, 0) for m in found):.0f}" for n in names) + "."


def disk(raw):
    if not raw.of("fio"):
        return "Not measured in this run."
    rows = []
    for job in fiojob.JOBS:
        for name, io in raw.engines():
            iops = raw.fio(name, io, job, "iops")
            lines = raw.of("fio", contestant=name, io=io, job=job)
            if not iops:
                continue
            busy = median(f["cpu_ns"] / f["wall_ns"] for f in lines)
            rows.append([f"{job}, {title(name)} {io}".rstrip(), len(iops), f"{median(iops):.0f}",
                         f"{median(raw.fio(name, io, job, 'kib_per_s')) / 1024:.1f}",
                         f"{min(iops):.0f}", f"{max(iops):.0f}", f"{100 * busy:.0f} %"])
    return table(["disk test", "runs", "IOPS, p50", "MiB/s", "min IOPS", "max IOPS",
                  "monitor's CPU, with the guest"], rows)


def network(raw):
    if not raw.of("net"):
        skipped = raw.one("net-skipped")
        return f"Not measured in this run{': ' + skipped['reason'] if skipped else ''}."
    text = table(["network test", "runs", "unit", "p50", "min", "max",
                  "CPU, with the guest; or p99"], netreport.rows(raw, title))
    again = [f"{title(x['contestant'])} {x['path']} {x['job']}: {x['why']}" for x in raw.of("net-failed")]
    return text + ("\n\nTests that were begun again: " + "; ".join(again) + "." if again else "")


def sizes(raw):
    rows = [[title(s["contestant"]), f"{s['bytes'] / 1024:.0f}",
             f"{s['stripped_bytes'] / 1024:.0f}", s["libraries"],
             f"{s['library_bytes'] / 1024:.0f}"] for s in raw.of("size")]
    return table(["KiB", "program", "stripped", "libraries", "size of the libraries"], rows)


def payload(raw):
    lines = raw.of("payload")
    if not lines:
        skipped = raw.one("payload-skipped")
        return f"Not measured: {skipped['reason'] if skipped else 'not run'}."
    rows, before = [], None
    for stage in ("exec", "config", "KVM set-up", "load", "start"):
        at = [p["timeline"][stage] for p in lines]
        length = at if before is None else [a - b for a, b in zip(at, before)]
        rows.append([stage, *(f"{percentile(length, p):.2f}" for p in (50, 99)),
                     *(f"{percentile(at, p):.2f}" for p in (50, 99))])
        before = at
    return table(["stage", "p50, ms", "p99, ms", "from exec, p50", "from exec, p99"], rows)


def api(raw):
    rows = []
    for name in raw.names():
        for field, what in (("wall_ns", "start to the first answer"), ("cpu_ns", "CPU time")):
            v = [x[field] / 1e6 for x in raw.of("api", contestant=name)]
            if v:
                rows.append([f"{what}, {title(name)}", len(v),
                             *(f"{percentile(v, p):.2f}" for p in (50, 99)), f"{min(v):.2f}"])
        load = raw.one("api-load", contestant=name)
        if load:
            v = [ns / 1e6 for ns in load["took_ns"]]
            rows.append([f"an answer to one of ten clients, {title(name)}", len(v),
                         *(f"{percentile(v, p):.2f}" for p in (50, 99)), f"{min(v):.2f}"])
    return table(["ms", "runs", "p50", "p99", "min"], rows) if rows else "Not measured."


def stages(raw):
    rows = [[title(name), stage, f"{ms:.1f}"] for name in raw.names()
            for stage, ms in raw.stages(name)]
    return table(["monitor", "stage", "median, ms"], rows)


def head(raw):
    meta, s = raw.one("meta"), raw.setup
    where = ("on the machine's own KVM" if s["rung"] == "native" else
             "in the lab, an emulated host: **only ratios mean something there**, not milliseconds")
    loads = [x["load"] for kind in ("boot", "fio", "net") for x in raw.of(kind)] or [meta["load"]]
    return f"""Measured {where}.

- Guest: kernel {s['kernel_name']}, root disk `fio.ext4`, {s['cpus']} vCPU, {s['mem']} MiB; \
disk tests with {s['fio']['mem']} MiB, {s['fio']['seconds']} s each on a disk of \
{s['fio']['size_mib']} MiB in tmpfs.
- Network tests: {s['net']['mem']} MiB, root disk `net.ext4`, {s['net']['seconds']} s each.
- {s['versions']['volt-vmm']} ({s['versions']['commit']}); {s['versions']['qemu']}.
- Host kernel {meta['kernel']}, {meta['cpus']} CPUs ({meta['cpu']}); load average \
{min(loads):.1f} to {max(loads):.1f}.
- First guest instruction: {meta['first_entry']}.
- Taken for guest memory: {meta['guest_ram']}."""


def commands(raw):
    text = []
    for name in raw.names():
        b = raw.one("boot", contestant=name)
        if b:
            text.append(" ".join(f"'{w}'" if " " in w else w for w in b["argv"]))
    return "```\n" + "\n\n".join(text) + "\n```"


def write(raw_path, out):
    """Writes everything beside the raw data; returns the table of goals."""
    raw = Raw(raw_path)
    tables = "\n\n".join(f"## {t}\n\n{body}" for t, body in (
        ("Goals", goals(raw)), ("Boot", boots(raw)),
        ("Memory", memory(raw) + "\n\n" + mappings(raw)),
        ("Disk", disk(raw)), ("Network", network(raw)), ("Size", sizes(raw)),
        ("From exec to KVM_RUN, on the machine itself", payload(raw)),
        ("From the start to the API's first answer, on the machine itself", api(raw))))
    with open(os.path.join(out, "table.md"), "w", encoding="utf-8") as f:
        f.write(tables + "\n")
    shown = plots.draw(raw, out, title)
    figures = {name: f"![{text}]({name})\n\n{text}\n" for name, text in shown.items()}
    report = tables
    for heading, names in (("## Boot\n", ("timeline.svg", "cdf.svg")),
                           ("## Disk\n", ("disk.svg",))):
        seen = "\n".join(figures[n] for n in names if n in figures)
        report = report.replace(heading, f"{heading}\n{seen}" if seen else heading)
    with open(os.path.join(out, "report.md"), "w", encoding="utf-8") as f:
        f.write(f"# volt-vmm side by side\n\n{head(raw)}\n\n"
                "Method, and what the figures do not say: `bench/README.md`. Raw data: "
                f"`raw.jsonl`.\n\n{report}\n\n## Stages of the boot\n\n{stages(raw)}\n\n"
                f"## Commands\n\n{commands(raw)}\n")
    return goals(raw)


if __name__ == "__main__":
    print(write(os.path.join(sys.argv[1], "raw.jsonl"), sys.argv[1]))
