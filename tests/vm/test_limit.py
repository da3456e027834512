# SPDX-License-Identifier: Apache-2.0
"""Rate limits that the configuration gives: never more than they allow, and what waits is served."""
import json
import os
import time

import vt
from vmm import disk, guest


def _run(name, document, seconds=60, **kw):
    """A payload with this document and what the flags say: its metrics, and how long it took."""
    config, metrics = os.path.join(vt.tmp(), "config"), os.path.join(vt.tmp(), "metrics")
    with open(config, "w", encoding="ascii") as f:
        json.dump(document, f)
    started = time.monotonic()
    g = guest(name, "--config-file", config, "--metrics-path", metrics, **kw)
    g.wait(0, seconds)
    with open(metrics, encoding="ascii") as f:
        return g, json.loads(f.read().splitlines()[-1]), time.monotonic() - started


def _bucket(size, ms):
    return {"size": size, "refill_time": ms}


def _within(g, got, size, ms, took, what):
    most = size + size * 1000 / ms * took
    print(f"{got} {what} in {took:.2f} s, at most {most:.0f} are allowed")
    g.expect(size < got <= most, f"{got} {what} in {took:.2f} s, at most {most:.0f} are allowed")


for IO in ("Sync", "Async"):
    @vt.test(f"a disk's requests, {IO}", timeout=120)
    def _(io=IO):
        g, m, took = _run("blk", {"drives": [
            {"drive_id": "a", "path_on_host": disk(), "io_engine": io, "cache_type": "Writeback",
             "rate_limiter": {"ops": _bucket(10, 100)}}]}, cmdline="expect.sectors=2048")
        g.expect("PASS\n" in g.out(), "no PASS")
        c = m["a"]
        _within(g, sum(c[k] for k in ("reads", "writes", "flushes", "discards", "write_zeroes", "get_ids")),
                10, 100, took, "requests")
        g.expect(c["throttled"] > 0 and c["limiter_events"] > 0, "nothing had to wait")


@vt.test("the bytes of the entropy source", timeout=60)
def _():
    g, m, took = _run("rng", {"entropy": {"rate_limiter": {"bandwidth": _bucket(512, 500)}}})
    g.expect("PASS\n" in g.out(), "no PASS")
    _within(g, m["rng"]["bytes"], 512, 500, took, "bytes")
    g.expect(m["rng"]["throttled"] > 0, "nothing had to wait")


@vt.test("the console's output: what is too much is dropped, counted, and holds nobody up", timeout=60)
def _():
    g, m, took = _run("end", {"console": {"rate_limiter": _bucket(1000, 1000)}}, cmdline="end=6")
    got, written = m["console"]["out_bytes"], m["serial"]["tx_bytes"]
    _within(g, got, 1000, 1000, took, "bytes")
    vt.same(got + m["console"]["out_limited"], written, "bytes that passed and bytes that were dropped")
    vt.same(os.stat(g.out_path).st_size, got, "size of the output")
