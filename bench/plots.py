# SPDX-License-Identifier: Apache-2.0
"""The report's plots, as SVG."""
import os

import matplotlib

matplotlib.use("svg")

import matplotlib.pyplot as plt  # noqa: E402

import fiojob  # noqa: E402
from stats import median  # noqa: E402

# Colours that stay apart for the colour-blind (Okabe and Ito); ours first.
COLOURS = ["#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000"]
STAGE_COLOURS = {
    "exec": "#CC79A7", "config": "#E69F00", "KVM set-up": "#009E73", "load": "#56B4E9",
    "start": "#D55E00", "first guest instruction": "#0072B2", "kernel to init": "#BBBBBB",
}


def _save(fig, out, name):
    fig.savefig(os.path.join(out, name), metadata={"Date": None})
    plt.close(fig)


def _bare(ax):
    ax.spines[["top", "right"]].set_visible(False)


def _stack(ax, raw, names, title, known):
    """One bar a monitor; `known` picks stages. Returns the stages drawn."""
    drawn = {}
    for row, name in enumerate(names):
        at = 0.0
        for stage, ms in raw.stages(name):
            if not known(stage):
                break
            drawn[stage] = ax.barh(row, ms, left=at, height=0.55,
                                   color=STAGE_COLOURS.get(stage, "#999999"))
            at += ms
        ax.text(at, row, f" {at:.0f} ms", va="center")
    ax.set_yticks(range(len(names)), [title(n) for n in names])
    ax.invert_yaxis()
    ax.set_xlim(0, ax.get_xlim()[1] * 1.1)
    ax.grid(axis="x", alpha=0.3)
    ax.set_axisbelow(True)
    _bare(ax)
    return drawn


def timeline(raw, out, title):
    names = raw.names()
    fig, (whole, part) = plt.subplots(2, 1, figsize=(9, 2.2 + 1.1 * len(names)),
                                      layout="constrained")
    drawn = _stack(whole, raw, names, title, lambda _: True)
    whole.set_title("exec to init", loc="left")
    _stack(part, raw, names, title, lambda stage: stage != "kernel to init")
    part.set_title("the same up to the first guest instruction", loc="left")
    part.set_xlabel("milliseconds")
    order = [s for s in STAGE_COLOURS if s in drawn] + [s for s in drawn if s not in STAGE_COLOURS]
    part.legend([drawn[s] for s in order], order, loc="upper center", bbox_to_anchor=(0.45, -0.45),
                ncols=4, frameon=False)
    _save(fig, out, "timeline.svg")


def cdf(raw, out, title):
    fig, axes = plt.subplots(1, 2, figsize=(9, 3.6), layout="constrained", sharey=True)
    for ax, until, what in ((axes[0], "entry_ns", "exec to first guest instruction"),
                            (axes[1], "init_ns", "exec to init")):
        for i, name in enumerate(raw.names()):
            v = sorted(raw.boot_ms(name, until))
            if v:
                ax.step([v[0], *v], [100 * n / len(v) for n in range(len(v) + 1)], where="post",
                        color=COLOURS[i % len(COLOURS)], label=title(name), linewidth=2)
        ax.set_xlim(left=0)
        ax.set_ylim(0, 101)
        ax.set_title(what, loc="left")
        ax.set_xlabel("milliseconds")
        ax.grid(alpha=0.3)
        _bare(ax)
    axes[0].set_ylabel("% of runs within")
    axes[1].legend(loc="lower left", frameon=False)
    _save(fig, out, "cdf.svg")


def disk(raw, out, title):
    engines = raw.engines()
    names = raw.names()
    fig, axes = plt.subplots(2, 2, figsize=(9, 2 + 0.7 * len(engines)), layout="constrained")
    for ax, job in zip(axes.flat, fiojob.JOBS):
        field, scale, unit = (("iops", 1, "IOPS") if job.endswith("4k")
                              else ("kib_per_s", 1024, "MiB/s"))
        for row, (name, io) in enumerate(engines):
            v = [x / scale for x in raw.fio(name, io, job, field)]
            if not v:
                continue
            m = median(v)
            ax.barh(row, m, height=0.6, color=COLOURS[names.index(name) % len(COLOURS)],
                    xerr=[[m - min(v)], [max(v) - m]], ecolor="#444444", capsize=3)
            ax.text(max(v), row, f"  {m:.0f}", va="center")
        ax.set_yticks(range(len(engines)), [f"{title(n)} {io}".rstrip() for n, io in engines])
        ax.invert_yaxis()
        ax.set_xlim(0, ax.get_xlim()[1] * 1.15)
        ax.set_title(f"{job}, {unit}", loc="left")
        ax.grid(axis="x", alpha=0.3)
        ax.set_axisbelow(True)
        _bare(ax)
    _save(fig, out, "disk.svg")


def draw(raw, out, title):
    """Draws what there is data for; returns {file: caption}."""
    plt.rcParams.update({"font.size": 10, "axes.titlesize": 11})
    shown = {}
    if raw.of("boot"):
        timeline(raw, out, title)
        shown["timeline.svg"] = (
            "Where the time of a boot goes (median of each stage). volt-vmm tells its stages; of "
            "the others only the first entry into the guest is seen.")
        cdf(raw, out, title)
        shown["cdf.svg"] = ("How the boots are distributed: the further left and the steeper, the "
                            "better.")
    if raw.of("fio"):
        disk(raw, out, title)
        shown["disk.svg"] = ("Disk tests in the guest: median, with the smallest and the largest "
                             "run.")
    return shown
