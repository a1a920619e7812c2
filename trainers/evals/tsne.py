"""t-SNE of originals and their views in one plane: coordinates as a table, and two plots (spec small_sts A.10).

Unit features, their first 50 principal components, then scikit-learn's t-SNE of all views together. The release has an
exact t-SNE of its own with unsorted components, and its axes fit the originals alone.
"""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import torch
import torch.nn.functional as F
from torch import Tensor

from ...shards.errors import UserError, needs
from ...shards.files import atomic, make_folder
from .checks import require_finite, spread

COMPONENTS = 50
SAME = 1e-12  # mean squared distance to the mean that rounding makes of equal unit features, and more
INK, PAPER, VIEWS = "#2b2b2b", "#f7f5f0", ("#17bebb", "#e4572e", "#ffc914")
COLORS, MARKERS = "tab10", "osX^Dv*P"  # a class after the tenth has the next marker
LEGEND = {"loc": "center left", "bbox_to_anchor": (1, 0.5), "frameon": False, "markerscale": 1.5}
NAMED, COLUMN, LETTERS = 40, 20, 22  # classes of a legend, of a column of it, and letters of a name


def tsne(
    views: tuple[Tensor, ...],
    labels: Tensor,
    folder: Path,
    *,
    perplexity: float = 30.0,
    classes: int = 10,
    per_class: int = 100,
    seed: int = 0,
    names: Sequence[str] = (),
    title: str = "",
) -> Iterator[tuple[str, float]]:
    """Write `tsne.parquet`, `tsne_classes.png` and, if there are two views, `tsne_views.png` into `folder`; yield the
    divergence.

    Raw features of the original and its views, each [N, D], and labels [N]. The first `per_class` images of the first
    `classes` classes are shown; `tsne_views.png` shows the first class with its views. `names` of the classes by label
    go into the legend, and `title`, whose first line is bold, above the plots.
    """
    chosen = labels.unique()[:classes]
    rows = [int(row) for c in chosen for row in (labels == c).nonzero()[:per_class, 0]]
    y, loss = coordinates(tuple(x[rows] for x in views), perplexity=perplexity, seed=seed)
    shown = labels[rows].cpu().numpy()
    make_folder(folder)
    save(y, shown, np.array(rows), folder / "tsne.parquet")
    about = f"{len(shown):,} images of {len(chosen)} classes, perplexity {perplexity:g}"
    paint_classes(y[0], shown, folder / "tsne_classes.png", names, f"{title}\n{about}")
    if len(y) > 2:
        first = shown == shown[0]
        about = f"{first.sum():,} images of {_name(names, shown[0])} and their views, perplexity {perplexity:g}"
        paint_views(y[:3, first], folder / "tsne_views.png", f"{title}\n{about}")
    yield "tsne/divergence", loss


def coordinates(views: tuple[Tensor, ...], *, perplexity: float, seed: int = 0) -> tuple[np.ndarray, float]:
    """Coordinates of all views in one plane, [V, N, 2] float32, and the remaining divergence (nats).

    UserError for features that are not finite or all the same, and unless the perplexity, roughly a number of
    neighbors, is less than the number of points."""
    for view in views:
        require_finite(view)
    x = np.concatenate([F.normalize(v.float(), dim=1).cpu().numpy() for v in views])  # [V N, D]
    if not 0 < perplexity < len(x):
        raise UserError(
            f"a perplexity of {perplexity:g} needs more than as many points, there are {len(x)}: "
            f"lower --perplexity or take more images"
        )
    if spread(torch.from_numpy(x)) < SAME or x.shape[1] < 2:  # scikit-learn would divide by 0, and crash
        raise UserError(
            f"the features of all {len(x)} points are the same, or single numbers, so there is nothing to show: the "
            f"network has collapsed, name another --checkpoint"
        )
    manifold, decomposition = needs("sklearn.manifold"), needs("sklearn.decomposition")
    components = decomposition.PCA(min(COMPONENTS, *x.shape), random_state=seed).fit_transform(x)
    model = manifold.TSNE(perplexity=perplexity, init="pca", random_state=seed)
    y = model.fit_transform(components).astype(np.float32)
    return y.reshape(len(views), -1, 2), float(model.kl_divergence_)


def save(y: np.ndarray, labels: np.ndarray, rows: np.ndarray, path: Path) -> None:
    """Write coordinates y [V, N, 2] of images `rows` [N] as a parquet table with columns row, label, view, x, y."""
    v, n = y.shape[:2]
    columns = {"row": np.tile(rows, v), "label": np.tile(labels, v), "view": np.repeat(np.arange(v), n)}
    table = pa.table({**columns, "x": y[..., 0].ravel(), "y": y[..., 1].ravel()})
    with atomic(path) as file:
        pq.write_table(table, file)


def paint_classes(y: np.ndarray, labels: np.ndarray, path: Path, names: Sequence[str] = (), title: str = "") -> None:
    """Plot points y [N, 2], one color per class, and one marker per ten classes; `names` by label."""
    axes, found = _page(title), np.unique(labels)
    colors = needs("matplotlib").color_sequences[COLORS]
    for n, c in enumerate(found):
        marker = MARKERS[n // len(colors) % len(MARKERS)]
        axes.scatter(
            *y[labels == c].T, color=colors[n % len(colors)], marker=marker, s=18, linewidths=0, label=_name(names, c)
        )
    if len(found) <= NAMED:
        axes.legend(title="class", ncols=-(-len(found) // COLUMN), **LEGEND)
    _write(axes, path)


def paint_views(y: np.ndarray, path: Path, title: str = "") -> None:
    """Plot points y [3, N, 2]: originals and their two views, each triple as a triangle."""
    axes = _page(title)
    for triple in y.transpose(1, 0, 2):  # [3, 2]
        axes.fill(*triple.T, facecolor=INK, alpha=0.06, edgecolor="none")
        axes.fill(*triple.T, facecolor="none", edgecolor=INK, linewidth=0.5)
    for points, color, name in zip(y, VIEWS, ("original", "view 1", "view 2"), strict=True):
        axes.scatter(*points.T, color=color, s=16, linewidths=0, label=name, zorder=2)
    axes.legend(**LEGEND)
    _write(axes, path)


def _name(names: Sequence[str], label: int) -> str:
    """The name of a class, shortened; its number without one. Matplotlib sees no formula in it."""
    name = names[label] if label < len(names) else str(label)
    return (name if len(name) <= LETTERS else f"{name[: LETTERS - 1]}…").replace("$", r"\$")


def _page(title: str) -> Any:
    """Axes without a window and without ticks: lengths have no meaning in t-SNE."""
    figure = needs("matplotlib.figure").Figure(figsize=(8.6, 6.4), layout="constrained")
    axes = figure.subplots()
    head, *lines = title.replace("$", r"\$").split("\n")
    figure.suptitle(head, x=0.01, ha="left", fontweight="bold", color=INK)
    axes.set_title("\n".join(lines), fontsize=10, color=INK, loc="left")
    axes.set(xticks=[], yticks=[], facecolor=PAPER)
    axes.set_aspect("equal", adjustable="datalim")
    axes.spines[:].set_visible(False)
    return axes


def _write(axes: Any, path: Path) -> None:
    with atomic(path) as file:
        axes.figure.savefig(file, dpi=150, format="png")
