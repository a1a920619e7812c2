"""Gaps as Markdown tables: docs/parity.md."""

from collections.abc import Sequence
from contextlib import suppress
from importlib.metadata import PackageNotFoundError, version

import numpy as np

from viewstream.tools.bench.gaps.measure import EXACT, Gap, cases, limits
from viewstream.tools.bench.gaps.renderers import Renderer

PACKAGES = {
    "Pillow": "pillow",
    "torchvision": "torchvision",
    "torch": "torch",
    "kornia": "kornia",
    "DALI": "nvidia-dali-cuda130",
}
ABOUT = """# Parity

Absolute differences to PIL and torchvision (`augment/renderers/reference.py`), in levels of 8 bits: mean / 99th
percentile / maximum over all values of {images}. Bold: over the limit in the last column. An op is measured alone and
always applied, on squares that its view takes whole; crops and recipes are measured on whole images. Small views are in
the column of their large view's size.

The reference rounds to 8 bits after every op and shifts hues in 8-bit HSV, which alone costs up to 15 levels; these
renderers round once, after the crop. The largest differences are single values: rounding that moves a solarized pixel
across its threshold inverts it, and PIL extends the border again before each of a blur's three passes. DALI repeats the
edge of a box where PIL drops the filter's taps, which shows in the outermost pixels only; inside, they differ by one or
two levels. In a small view at 32 px, which is 14 px wide, that ring is every fourth pixel. kornia blurs with a Gaussian
of the drawn sigma, over as many pixels as PIL reaches; else it differs from the device renderer by rounding alone.

`--decode planes` is compared with the same JPEGs (quality 90, halved colors) decoded to RGB. libjpeg clips each pixel
of the image to 0..255, the crop of planes each pixel of the view: at the edges of colors that RGB cannot hold a view
differs by tens of levels; without that clipping the difference is rounding, one level. Boxes that shrink more than
eight times, common at 32 px, are cropped from RGB.

Made with {versions}.

    python tools/bench/parity.py --pictures FOLDER --count {count} {dali} --out docs/parity.md

"""


def versions() -> str:
    """`torch 2.14.1, kornia 0.9.0, ...`: the packages whose pixels are compared, where they are installed."""
    found = []
    for shown, package in PACKAGES.items():
        with suppress(PackageNotFoundError):
            found.append(f"{shown} {version(package)}")
    return ", ".join(found)


def tables(gaps: dict[str, dict[str, list[Gap]]], sizes: Sequence[int], renderers: dict[str, Renderer]) -> str:
    """One table per renderer: rows are ops, crops and views, columns are sizes, the last column is the limit."""
    views, parts = cases(sizes[0]), []
    for renderer, cells in gaps.items():
        rows = [["", *(f"{size} px" for size in sizes), "held to"]]
        rows.append(["---"] * len(rows[0]))
        for name, measured in cells.items():
            limit = limits(name, views[name], renderers[renderer])
            rows.append([name, *(cell(gap, limit) for gap in measured), bounds(limit)])
        parts.append(f"## {renderer}\n\n" + "".join(f"| {' | '.join(row)} |\n" for row in rows))
    return "\n".join(parts)


def cell(gap: Gap, limit: Gap) -> str:
    """`mean / p99 / max`, bold if it is over a limit."""
    text = f"{gap.mean:.2f} / {gap.p99:.1f} / {gap.maximum:.1f}"
    return text if all(g <= m + EXACT for g, m in zip(gap, limit, strict=True)) else f"**{text}**"


def bounds(limit: Gap) -> str:
    """`mean 0.3, max 2`: the limits that there are."""
    named = zip(("mean", "p99", "max"), limit, strict=True)
    return ", ".join(f"{name} {0 if value == EXACT else value:g}" for name, value in named if value < np.inf)
