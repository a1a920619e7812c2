"""The charts of the suite: bars of what each case reaches of its floor, whiskers for the quartiles."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from viewstream.shards.errors import needs
from viewstream.tools.bench.figures.check import ours
from viewstream.tools.bench.measuring.rounds import ratio

OURS, OTHERS, FLOOR = "#2f5da8", "#a9a9a9", "#d9d9e6"


def draw_groups(groups: Mapping[str, Mapping[str, Any]], path: Path) -> None:
    """One panel per group: processor time as bars, wall time as diamonds, both as a share of the floor's speed."""
    plt = needs("matplotlib.pyplot")
    plt.switch_backend("agg")
    rows = [len(group["cpu"]) for group in groups.values()]
    size = {"figsize": (8.4, 0.3 * sum(rows) + 0.95 * len(rows)), "height_ratios": [n + 1.2 for n in rows]}
    figure, panels = plt.subplots(len(rows), 1, layout="constrained", squeeze=False, **size)
    for axes, (title, group) in zip(panels[:, 0], groups.items(), strict=True):
        _panel(axes, group)
        axes.set_title(title, fontsize=9.5, loc="left")
    panels[-1, 0].set_xlabel("speed as a share of the floor; bar: processor time with quartiles, diamond: wall time")
    figure.savefig(path, dpi=110)
    plt.close(figure)


def _panel(axes: Any, group: Mapping[str, Any]) -> None:
    names = sorted(group["cpu"], key=lambda name: ratio(group, group["floor"], name)[1])
    mine = ours(group)
    for at, name in enumerate(names):
        low, share, high = ratio(group, group["floor"], name)
        color = OURS if name in mine else FLOOR if name == group["floor"] else OTHERS
        axes.barh(at, share, color=color, xerr=[[share - low], [high - share]], error_kw={"lw": 0.9, "capsize": 2})
        wall = ratio(group, group["floor"], name, "wall")[1]
        axes.plot(wall, at, marker="D", markersize=4, color="white", markeredgecolor="black", markeredgewidth=0.8)
        axes.annotate(
            f"{share:.2f}", (max(share, high, wall), at), (6, 0), textcoords="offset points", va="center", fontsize=8
        )
    axes.set_yticks(range(len(names)), names, fontsize=8)
    axes.tick_params(axis="x", labelsize=8)
    axes.margins(x=0.12, y=0.02)
    axes.set_xlim(left=0)
    axes.spines[["top", "right"]].set_visible(False)


def draw_flat(runs: Mapping[str, Mapping[str, Any]], path: Path) -> None:
    """Processor time per sample and memory by tenths of each run."""
    plt = needs("matplotlib.pyplot")
    plt.switch_backend("agg")
    figure, panels = plt.subplots(1, 2, figsize=(8.4, 2.8), layout="constrained")
    for axes, key, title in zip(
        panels, ("cpu", "MiB"), ("us of processor time per sample", "MiB resident"), strict=True
    ):
        for color, (name, run) in zip((OTHERS, OURS, "#d0672f"), runs.items(), strict=False):
            axes.plot(range(1, len(run[key]) + 1), run[key], marker="o", markersize=3, color=color, label=name)
        axes.set_title(title, fontsize=9.5, loc="left")
        axes.set_ylim(0, 1.25 * max(max(run[key]) for run in runs.values()))
        axes.set_xlabel("tenth of the run", fontsize=9)
        axes.spines[["top", "right"]].set_visible(False)
    panels[0].legend(fontsize=8, frameon=False, loc="lower left")
    figure.savefig(path, dpi=110)
    plt.close(figure)
