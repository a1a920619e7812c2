"""The figure of tools/inspect_shards.py: a class histogram, image sizes and a contact sheet of samples."""

import textwrap
from pathlib import Path
from typing import Any

import numpy as np

from viewstream.shards.care.figures import SHOTS, counted, number_of_classes, shots
from viewstream.shards.errors import UserError, needs
from viewstream.shards.files import atomic, make_folder
from viewstream.shards.manifest import Manifest
from viewstream.tools.inspect_sheet import COLUMNS, INK, height_of, lines_to_show, sheet_panel, short

COLORS = ("#17bebb", "#ffc914", "#e4572e")  # for many, medium and few shots
PLAIN, SHADE = "#5390d9", 0.13
NAMED, LEVEL = 24, 6  # bars up to these numbers have room for names, and for names that are not turned
COMMON = 0.02  # share of samples from which a size is worth a title


def draw_figure(manifest: Manifest, png: Path) -> None:
    """Draw class histogram, sizes and contact sheet as one PNG. UserError if it cannot be written."""
    counts, info = counted(manifest), manifest.info
    lines = lines_to_show(manifest)
    height = height_of(lines) * 12 / COLUMNS
    figure = needs("matplotlib.figure").Figure(figsize=(12, 4.4 + height), layout="constrained")
    upper, lower = figure.subfigures(2, 1, height_ratios=(4.4, height))
    upper.suptitle(f"{info.name}: {len(manifest):,} samples", color=INK, fontweight="bold")
    if counts.any():
        left, right = upper.subplots(1, 2, width_ratios=(1.9, 1))
        _class_panel(left, manifest, counts)
    else:
        right = upper.subplots()
    _size_panel(right, manifest)
    sheet_panel(lower.subplots(), manifest, lines)
    try:
        make_folder(png.parent)
        with atomic(png) as file:  # which replaces a link of that name: a set may come with one
            figure.savefig(file, format="png", dpi=120)
    except OSError as error:
        raise UserError(f"{png} cannot be written ({error.strerror}): name another file with --png") from error


def _class_panel(axes: Any, manifest: Manifest, counts: np.ndarray) -> None:
    """Samples per class from the largest class to the smallest, in bands of many, medium and few shots."""
    order = np.argsort(-counts, kind="stable")[: np.count_nonzero(counts)]
    tall = counts[order]
    bands = [(shots(tall) == i, f"{name} ({bounds})", COLORS[i]) for i, (name, bounds) in enumerate(SHOTS)]
    if manifest.info.split != "train":
        bands = [(tall > 0, "", PLAIN)]
    for band, label, color in bands:
        if band.any():
            first, end = np.flatnonzero(band)[[0, -1]] + (0, 1)
            share = f"{label}: {number_of_classes(band.sum())}, {tall[band].sum() / tall.sum():.0%} of samples"
            axes.stairs(tall[band], np.arange(first, end + 1), fill=True, color=color, label=share)
            axes.axvspan(first, end, color=color, alpha=SHADE, linewidth=0)
    axes.set(xlim=(0, len(tall)), xlabel="classes, largest first", ylabel="samples")
    if tall[0] > 10 * tall[-1]:
        axes.set(yscale="log", ylim=(0.7 * tall[-1], 1.3 * tall[0]))
    else:
        axes.set_ylim(0, 1.35 * tall[0])  # room for the legend above bars of equal height
        axes.yaxis.get_major_locator().set_params(integer=True)
    axes.xaxis.set_major_formatter("{x:,.0f}")
    axes.yaxis.set_major_formatter("{x:,.0f}")
    each = f"{tall[0]:,}" if tall[0] == tall[-1] else f"{tall[-1]:,} to {tall[0]:,}"
    axes.set_title(f"{len(tall):,} of {len(counts):,} classes filled, samples in each: {each}")
    if len(tall) <= NAMED:
        axes.vlines(np.arange(1, len(tall)), *axes.get_ylim(), color="white", linewidth=3)
        names, at = [manifest.info.classes[c] for c in order], np.arange(len(tall)) + 0.5
        if len(tall) <= LEVEL:
            axes.set_xticks(at, [textwrap.fill(short(name, 40), 60 // len(tall)) for name in names])
        else:
            axes.set_xticks(at, [short(name) for name in names], rotation=45, ha="right", rotation_mode="anchor")
    if bands[0][1]:
        axes.legend(loc="upper right", frameon=True, framealpha=0.9, edgecolor="none")


def _size_panel(axes: Any, manifest: Manifest) -> None:
    """The number of images by width and height; the few very large images are drawn at the edge."""
    limit = float(np.percentile(manifest.hw.max(axis=1), 99.5)) * 1.05
    sizes, times = np.unique(manifest.hw, axis=0, return_counts=True)
    (height, width), share = sizes[times.argmax()], times.max() / len(manifest)
    y, x = np.minimum(manifest.hw, limit).T
    edges = np.linspace(0, limit, 50)
    image = axes.hist2d(x, y, bins=(edges, edges), cmin=1, vmin=1, norm="log", cmap="viridis_r")[3]
    axes.plot((0, limit), (0, limit), color=INK, linewidth=0.6, linestyle=":")
    note = " (larger images at the edge)" if manifest.hw.max() > limit else ""
    axes.set(aspect="equal", xlabel=f"width, px{note}", ylabel="height, px")
    middle = " × ".join(f"{side:,.0f}" for side in np.median(manifest.hw, axis=0)[::-1])
    axes.set_title(
        f"most common: {width:,} × {height:,} px ({share:.0%})" if share >= COMMON else f"median: {middle} px"
    )
    scale = axes.figure.colorbar(image, ax=axes, label="samples", format="{x:,.0f}", shrink=0.8)
    scale.ax.yaxis.set_minor_formatter("{x:,.0f}" if image.norm.vmax < 10 else "")
