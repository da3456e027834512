# SPDX-License-Identifier: Apache-2.0
"""Rate limits over 10 s: bytes and frames, to the guest and from it, with bursts; see ABOVE and BELOW.

The host's own counters of the tap are the judge. A bucket of `size` begins full and is refilled with
`size` in `ms`, a burst comes once and is spent first: so a time t after its end burst + size + t * rate
has passed, and in any later 10 s 10 * rate, if the sender never waits. While it does, the bucket fills
again: a later 10 s may have up to `size` more, so the upper bound is a bucket of our own that what
passed is taken out of. The rates are far below what an emulated guest can do.
"""
import os
import time
from subprocess import DEVNULL

import vt
from linux import Talker
from netback import GUEST, NET_TOOL, PORT, WORLD, Tap, connect, reach

SECONDS = 10
# More than this share of 10 s above the limit is always wrong. As much below it is so on a machine that
# has time for us (make soak); on a busy one the sender, the guest and the monitor wait for processors.
ABOVE = 0.05
BELOW = 0.05 if "VOLT_ROUNDS" in os.environ else 0.25
# size, milliseconds, burst; and of which the two directions are not the same
LIMITS = {
    "bandwidth": {"rx": (256 << 10, 500, 1 << 20), "tx": (400 << 10, 1000, 512 << 10)},
    "ops": {"rx": (150, 500, 600), "tx": (400, 1000, 300)},
}
DATAGRAM = {"bandwidth": 1400, "ops": 64}
COUNTER = {"bandwidth": "bytes", "ops": "packets"}


def _other(way):
    """What goes to the guest (rx) is what the tap sends."""
    return {"rx": "tx", "tx": "rx"}[way]


def _watch(host, name, way, before):
    """Samples the counter: [(time, count since `before`)] for two periods from the first frame."""
    key = f"{_other(way)}_{COUNTER[name]}"
    samples, start = [], None
    while start is None or samples[-1][0] < start + 2 * SECONDS + 1:
        at, counters = host.traffic("t0")
        samples.append((at, counters[key] - before[key]))
        if start is None and samples[-1][1] > 20 * (1500 if name == "bandwidth" else 1):
            start = at
        vt.check(start or len(samples) < 3000, "no frame passes")
        time.sleep(0.01)
    return start, samples


def _at(samples, when):
    return min(samples, key=lambda s: abs(s[0] - when))


def _spent(samples, burst):
    """The burst was spent between these two moments. Until then the bucket is full, and what would
    come back into it is lost."""
    at = next((i for i, s in enumerate(samples) if s[1] >= burst), None)
    vt.check(at is not None, f"the burst of {burst} was not spent: {samples[-1][1]}")
    return samples[max(at - 1, 0)][0], samples[at][0]


def _lowest(samples, size, rate, burst):
    """The lowest level of a bucket that what passed is taken out of: below zero, more than the limit."""
    level, lowest, last, seen = size, size, samples[0][0], 0
    for at, count in samples:
        level = min(size, level + rate * (at - last))
        from_burst = min(burst, count - seen)
        burst -= from_burst
        level -= count - seen - from_burst
        lowest = min(lowest, level)
        last, seen = at, count
    return lowest


def _judge(g, name, way, start, samples):
    size, ms, burst = LIMITS[name][way]
    rate = size * 1000 / ms
    at, got = _at(samples, start + SECONDS)
    most, least = (burst + size + rate * (at - when) for when in _spent(samples, burst))
    later, end = _at(samples, start + 2 * SECONDS)
    steady, wanted_steady = end - got, rate * (later - at)
    lowest = _lowest(samples, size, rate, burst)
    print(f"{way} {name}: {got} of {least:.0f} to {most:.0f} ({got / least:.3f} to {got / most:.3f}), "
          f"then {steady} of {wanted_steady:.0f} ({steady / wanted_steady:.3f}), lowest level {lowest:.0f}")
    g.expect(lowest > -ABOVE * rate * SECONDS,
             f"{way} {name}: {-lowest:.0f} more than the bucket held, {ABOVE:.0%} of 10 s is "
             f"{ABOVE * rate * SECONDS:.0f}")
    g.expect(got > least * (1 - BELOW),
             f"{way} {name}: {got} in the first {at - start:.2f} s, wanted {least:.0f} to {most:.0f}")
    g.expect(steady > wanted_steady * (1 - BELOW),
             f"{way} {name}: {steady} in the next {later - at:.2f} s, wanted {wanted_steady:.0f}")


def _limit(name, way):
    backend = Tap()
    more = "".join(f",{w}-{name}={size}/{ms}/{burst}"
                   for w, (size, ms, burst) in LIMITS[name].items())
    g = Talker("tuned-pvh", *backend.options(more), netns=backend.host)
    connect(g, backend)
    _, before = backend.host.traffic("t0")
    reach(g, backend)
    size, ms, _ = LIMITS[name][way]
    unit = DATAGRAM[name] + 42 if name == "bandwidth" else 1
    rate = int(size * 1000 / ms / unit)  # the limit in datagrams a second
    flood = [f"{{}}:{PORT + 7}", DATAGRAM[name], 2 * rate + 300, (2 * SECONDS + 4) * 1000]
    if way == "rx":
        backend.host.popen([NET_TOOL, "flood", flood[0].format(GUEST), *flood[1:]], stdin=DEVNULL)
    else:
        words = " ".join(map(str, flood)).format(WORLD)
        g.do(f"(net-tool flood {words} >/dev/null 2>&1 &)")
    start, samples = _watch(backend.host, name, way, before)
    _judge(g, name, way, start, samples)
    g.proc.kill()


for NAME in LIMITS:
    for WAY in ("rx", "tx"):
        vt.test(f"{WAY}-{NAME}: the burst, then the rate, at most 5 % above it", timeout=120)(
            lambda name=NAME, way=WAY: _limit(name, way))
