# SPDX-License-Identifier: Apache-2.0
"""The raw lines of a benchmark run, and the few statistics that the report needs of them."""
import json
import math
import random
import statistics


# Those of volt-vmm's own stages that come before the guest runs.
OWN_STAGES = ("exec", "config", "KVM set-up", "load", "start")


class Raw:
    """raw.jsonl, by kind of line."""

    def __init__(self, path):
        self.lines = {}
        with open(path, encoding="utf-8") as f:
            for text in f:
                line = json.loads(text)
                self.lines.setdefault(line["type"], []).append(line)

    def of(self, kind, **want):
        return [x for x in self.lines.get(kind, []) if all(x.get(k) == v for k, v in want.items())]

    def one(self, kind, **want):
        found = self.of(kind, **want)
        return found[-1] if found else None

    @property
    def setup(self):
        return self.one("meta")["setup"]

    def names(self):
        return [c["name"] for c in self.setup["contestants"]]

    def boot_ms(self, name, until):
        """Milliseconds from exec to init_ns or entry_ns."""
        return [(b[until] - b["exec_ns"]) / 1e6 for b in self.of("boot", contestant=name)
                if b[until] is not None]

    def memory(self, name):
        return [b["memory"] for b in self.of("boot", contestant=name) if b["memory"]]

    def engines(self):
        """[(contestant, engine)] that did disk tests, in the order of the set-up."""
        return [(c["name"], io) for c in self.setup["contestants"] for io in c["engines"]
                if self.of("fio", contestant=c["name"], io=io)]

    def fio(self, name, io, job, field):
        return [f[field] for f in self.of("fio", contestant=name, io=io, job=job)]

    def stages(self, name):
        """[(stage, median length in ms)] from exec to init."""
        marks = {}
        for b in self.of("boot", contestant=name):
            seen = [(k, v) for k, v in b["timeline"].items() if k in OWN_STAGES]
            if b["entry_ns"] is not None:
                seen.append(("first guest instruction", (b["entry_ns"] - b["exec_ns"]) / 1e6))
            seen.append(("kernel to init", (b["init_ns"] - b["exec_ns"]) / 1e6))
            last = 0.0
            for stage, at in sorted(seen, key=lambda s: s[1]):
                marks.setdefault(stage, []).append((at, at - last))
                last = at
        order = sorted(marks, key=lambda s: statistics.median(at for at, _ in marks[s]))
        return [(s, statistics.median(length for _, length in marks[s])) for s in order]


def percentile(values, p):
    """Linear between the nearest ranks."""
    v = sorted(values)
    at = (len(v) - 1) * p / 100
    low = math.floor(at)
    high = min(low + 1, len(v) - 1)
    return v[low] + (v[high] - v[low]) * (at - low)


def median(values):
    return statistics.median(values)


def ratio(ours, theirs):
    """(ratio of the medians, low and high end of its 95 % interval by the bootstrap)."""
    rng = random.Random(1)
    got = sorted(median(rng.choices(ours, k=len(ours))) / median(rng.choices(theirs, k=len(theirs)))
                 for _ in range(2000))
    return median(ours) / median(theirs), got[49], got[1949]
