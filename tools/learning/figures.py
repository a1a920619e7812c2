"""The figures of the experiments."""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from viewstream.shards.errors import needs
from viewstream.shards.files import atomic
from viewstream.tools.learning.classifiers import Classifier, classifiers
from viewstream.tools.learning.tables import Pieces, first, groups, knn_of
from viewstream.tools.learning.tail import BALANCED

COLORS = ("#2f5da8", "#d0672f", "#4c9f70", "#8d5bb0", "#c2a13a", "#3aa6b9", "#b0486f", "#6b6b6b", "#7fb03a", "#a85f2f")
BASELINES = ("untrained", "pixels")  # lines instead of dots
LABELED = ("supervised", "kcl")
TITLES = {"cifar": "CIFAR-10-LT", "caltech": "Caltech-101"}


def draw(found: Mapping[str, Pieces], folder: Path) -> list[Path]:
    """Draw what the kept pieces of the experiments fill; returns the files."""
    made = []
    if len(groups(found.get("cifar10", {}))) > 2:
        made.append(_save(ranking(found["cifar10"]), folder / "ranking.png"))
        made.append(_save(geometry(found["cifar10"]), folder / "geometry.png"))
    if found.get("tail"):
        made.append(_save(by_class(found["tail"]), folder / "tails.png"))
    return made


def ranking(pieces: Pieces) -> Any:
    """kNN of each method, a dot for each seed, the best on top; baselines as lines."""
    plt = _pyplot()
    scores = {name: [100 * value for value in knn_of(pages)] for name, pages in groups(pieces).items()}
    scores = {name: found for name, found in scores.items() if found}  # scratch has none
    names = sorted((name for name in scores if name not in BASELINES), key=lambda name: np.mean(scores[name]))
    figure, axes = plt.subplots(figsize=(7.2, 0.42 * len(names) + 1.1), layout="constrained")
    for at, name in enumerate(names):
        color = COLORS[name in LABELED]
        axes.plot(scores[name], [at] * len(scores[name]), "o", color=color, alpha=0.75, ms=7, mew=0)
        axes.annotate(
            f"{np.mean(scores[name]):.1f}",
            (max(scores[name]), at),
            (9, 0),
            textcoords="offset points",
            va="center",
            fontsize=9,
        )
    for name, style in zip(BASELINES, ("--", ":"), strict=True):
        if name in scores:
            value = np.mean(scores[name])
            axes.axvline(value, color="#6b6b6b", linestyle=style, linewidth=1.2, label=f"{name}: {value:.1f}")
    if any(name in LABELED for name in names):
        axes.plot([], [], "o", color=COLORS[1], ms=7, mew=0, label="labels in training")
    axes.set_yticks(range(len(names)), names)
    axes.margins(x=0.08, y=0.08)
    axes.set_xlabel("kNN top-1 on CIFAR-10's test images, %; a dot is a seed")
    if axes.get_legend_handles_labels()[0]:
        axes.legend(frameon=False, fontsize=9, loc="lower right")
    axes.spines[["top", "right"]].set_visible(False)
    return figure


def geometry(pieces: Pieces) -> Any:
    """kNN against alignment and against uniformity, one dot for each method, the best first."""
    plt = _pyplot()
    figure, panels = plt.subplots(1, 2, figsize=(8.4, 3.4), layout="constrained", sharey=True)
    shown = {n: pages[0] for n, pages in groups(pieces).items() if "stats" in pages[0]["measures"]}
    shown = dict(sorted(shown.items(), key=lambda item: -first(item[1], "knn", "knn/top1")[0]))
    for axes, number, title in zip(
        panels, ("stats/SD-SD align", "stats/SD uniform"), ("alignment of two views", "uniformity"), strict=True
    ):
        for at, (name, page) in enumerate(shown.items()):
            x, y = page["measures"]["stats"][number], 100 * first(page, "knn", "knn/top1")[0]
            axes.plot(x, y, "os"[at >= len(COLORS)], color=COLORS[at % len(COLORS)], ms=7, label=name)
        axes.set_xlabel(f"{title} (lower: {'closer' if 'align' in number else 'more spread'})")
        axes.margins(x=0.1, y=0.1)
        axes.spines[["top", "right"]].set_visible(False)
    panels[1].legend(loc="center left", bbox_to_anchor=(1, 0.5), frameon=False, fontsize=8.5)
    panels[0].set_ylabel("kNN top-1 on CIFAR-10, %")
    return figure


def by_class(pieces: Pieces) -> Any:
    """Accuracy of classes over the number of their training images, on each set; below, of features with balanced
    labels."""
    plt = _pyplot()
    sets = [*dict.fromkeys(name.split("-")[0] for name in pieces)]
    both = (False, True) if all(BALANCED in page["measures"] for page in pieces.values()) else (False,)
    size = (4.6 * len(sets), 3.4 * len(both))
    figure, rows = plt.subplots(len(both), len(sets), figsize=size, layout="constrained", squeeze=False)
    colors: dict[str, str] = {}  # one classifier has one color in all panels
    for panels, below in zip(rows, both, strict=True):
        for axes, data in zip(panels, sets, strict=True):
            for name, one in of_set(pieces, data):
                if (one.name == BALANCED) == below:
                    label = f"{name}, {one.name.split(',')[0]}"
                    color = colors.setdefault(label, COLORS[len(colors)])
                    axes.plot(*_in_groups(one), "o-", color=color, ms=4, lw=1.4, label=label)
            axes.set_xscale("log")
            axes.xaxis.set_major_locator(plt.matplotlib.ticker.LogLocator(subs=(1, 2, 5)))
            axes.xaxis.set_major_formatter("{x:,.0f}")
            axes.xaxis.set_minor_formatter("")
            axes.tick_params(labelsize=8.5)
            axes.invert_xaxis()
            title = f"{TITLES[data]}: {BALANCED if below else 'labels of the tail'}"
            axes.set(title=title, xlabel="training images of the class")
            axes.spines[["top", "right"]].set_visible(False)
        panels[0].set_ylabel("accuracy of its test images, %")
        panels[-1].legend(loc="upper left", bbox_to_anchor=(1, 1), frameon=False, fontsize=8.5)
    return figure


def of_set(pieces: Pieces, data: str) -> Iterator[tuple[str, Classifier]]:
    """The classifiers on a set, each with the name of its method."""
    for name, page in pieces.items():
        if name.startswith(f"{data}-"):
            for one in classifiers(page):
                yield name.removeprefix(f"{data}-").rpartition("-")[0], one


def _in_groups(one: Classifier) -> tuple[list[float], list[float]]:
    """Training images and accuracy in percent of each class, of many classes in ten groups of equal size."""
    order = np.argsort(one.train_images)[::-1]
    parts = np.array_split(order, min(10, len(order)))
    images = [float(np.mean([one.train_images[i] for i in part])) for part in parts]
    return images, [100 * float(np.mean([one.top1[i] for i in part])) for part in parts]


def _pyplot() -> Any:
    plt = needs("matplotlib.pyplot")
    plt.switch_backend("agg")
    return plt


def _save(figure: Any, path: Path) -> Path:
    with atomic(path) as file:
        figure.savefig(file, format="png", dpi=120)
    _pyplot().close(figure)
    return path
