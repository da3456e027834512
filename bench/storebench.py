#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""What the store costs: prints a table, and keeps the raw samples as JSON lines.

Usage: storebench.py BUILD_DIR FOLDER [MIB]     FOLDER is made, used and removed: choose its disk
"""
import json
import os
import shutil
import statistics
import subprocess
import sys


def percentile(values, p):
    return sorted(values)[min(len(values) - 1, int(len(values) * p / 100))]


def timed(samples, what, field, mib=0):
    values = [s[field] for s in samples if s["what"] == what and field in s]
    text = f"{what}: {field.removesuffix('_ns')}"
    line = f"{text:44} {len(values):4}  p50 {statistics.median(values) / 1e6:9.3f} ms" \
           f"  p99 {percentile(values, 99) / 1e6:9.3f} ms"
    if mib:
        line += f"  {mib / 1024 / (statistics.median(values) / 1e9):6.2f} GiB/s"
    print(line)


def main():
    build, folder = sys.argv[1:3]
    mib = int(sys.argv[3]) if len(sys.argv) > 3 else 256
    tool = os.path.join(build, "src", "volt-store", "volt-store")
    subprocess.run([tool, "init", folder], check=True)
    try:
        out = subprocess.run([os.path.join(build, "bench", "storebench"), folder, str(mib)],
                             check=True, capture_output=True, text=True).stdout
        stat = subprocess.run([tool, "stat", folder], check=True, capture_output=True, text=True).stdout
    finally:
        shutil.rmtree(folder)
    samples = [json.loads(line) for line in out.splitlines()]
    with open("storebench.jsonl", "w", encoding="utf-8") as f:
        f.write(out)
    print(f"{mib} MiB of memory, one thread; load average {os.getloadavg()[0]:.1f}, "
          f"{os.cpu_count()} processors, Linux {os.uname().release}")
    for what in ("put, all zeros", "put, no zeros", "clone, 1% of the pages differ"):
        timed(samples, what, "put_ns", mib)
        timed(samples, what, "put_cpu_ns", mib)
        timed(samples, what, "commit_ns")
    timed(samples, "snapshot of 16 dirty pages", "put_ns")
    timed(samples, "snapshot of 16 dirty pages", "put_cpu_ns")
    timed(samples, "snapshot of 16 dirty pages", "commit_ns")
    for what in ("restore, an image", "restore, depth 1", "restore, depth 50"):
        timed(samples, what, "ns")
    for s in samples:
        if s["what"] == "ten clones":
            name, value = list(s.items())[1]
            print(f"ten clones: {name:32} {value / 2**20:9.2f} MiB")
    print(stat, end="")


if __name__ == "__main__":
    main()
