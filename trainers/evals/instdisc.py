"""Instance discrimination: is another view of an image nearer to it than every other image? (spec small_sts A.7b)

    rank_i = #{j != i : q_i.g_j > q_i.p_i}        tie_i = #{j != i : q_i.g_j = q_i.p_i}
    top-k hit: min(1, max(0, (k - rank_i) / (tie_i + 1))), which is rank_i < k without a tie
    d-sd   q original, p view 1        sd-sd   q view 1, p view 2        g = q, as released, or g = p

The hit of a tie is its mean over all orders of the equal images, so equal features give chance. Both sides of a
comparison come from one matrix product, because products of other shapes round differently.

Accuracy is the plain mean over chunks of rows, so a short last chunk weighs as much as a full one. The release skips
every second chunk if a word in the path says so; here that is an argument. An unknown mode gives garbage in the
release; here it is an error.
"""

from collections.abc import Iterator
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor

from ...shards.errors import UserError, choose
from .checks import require_finite

CHUNK, BLOCK = 1024, 16384  # queries and gallery rows per product: memory is BLOCK x (CHUNK + D) floats
MODES = {"d-sd": (0, 1), "sd-sd": (1, 2)}  # mode -> (view of the queries, view of the positives); 0 is the original
Gallery = Literal["queries", "views"]


def instdisc(
    views: tuple[Tensor, ...],
    *,
    mode: str = "d-sd",
    topk: int = 5,
    samples_per_chunk: int = 100,
    skip_odd_chunks: bool = False,
    gallery: Gallery = "queries",
) -> Iterator[tuple[str, float]]:
    """Yield (name, top-k in percent) for k = 1 to `topk`, from raw features of the original and its views, each
    [N, D]."""
    above, ties = ranks_and_ties(*pair(views, mode), gallery=gallery)
    top = accuracies(above, topk, samples_per_chunk, skip_odd_chunks=skip_odd_chunks, ties=ties)
    yield from named(mode, top)


def named(mode: str, top: Tensor) -> Iterator[tuple[str, float]]:
    """Yield (name, percent) for the top-1..k accuracies [k] of a mode."""
    yield from ((f"instdisc/{mode} top{k}", value) for k, value in enumerate(top.tolist(), 1))


def pair(views: tuple[Tensor, ...], mode: str) -> tuple[Tensor, Tensor]:
    """Unit queries and their positives, [N, D] each. UserError for an unknown mode, too few views or features that are
    not finite."""
    query, positive = MODES[choose("mode", mode, MODES)]
    if len(views) <= positive:
        raise UserError(f"mode {mode} compares view {positive}, the set has {len(views) - 1}: make it with --views 2")
    for x in (views[query], views[positive]):
        require_finite(x)
    return F.normalize(views[query].float(), dim=1), F.normalize(views[positive].float(), dim=1)


def ranks(q: Tensor, p: Tensor, *, gallery: Gallery = "queries", part: slice = slice(None)) -> Tensor:
    """Number of other images strictly nearer to a query than its positive: [n] int64. Arguments: `ranks_and_ties`."""
    return ranks_and_ties(q, p, gallery=gallery, part=part)[0]


@torch.no_grad()
def ranks_and_ties(
    q: Tensor, p: Tensor, *, gallery: Gallery = "queries", part: slice = slice(None)
) -> tuple[Tensor, Tensor]:
    """Numbers of other images strictly nearer to a query than its positive, and exactly as near: [n] int64 each, for
    the queries of `part`.

    Unit rows q, p [N, D]. The ranks of a process group may each compute a part."""
    others = q if choose("gallery", gallery, ("queries", "views")) == "queries" else p
    start, end, _ = part.indices(len(q))
    above, ties = torch.zeros(2, end - start, dtype=torch.long, device=q.device)
    for at in range(start, end, CHUNK):
        rows = torch.arange(at, min(at + CHUNK, end), device=q.device)
        for first in range(0, len(q), BLOCK):
            product = q[rows] @ torch.cat([p[rows], others[first : first + BLOCK]]).T  # [n, n + BLOCK]
            own, similar = product.diagonal()[:, None], product[:, len(rows) :]
            inside = (rows >= first) & (rows < first + BLOCK)
            similar[inside.nonzero()[:, 0], rows[inside] - first] = -torch.inf  # the query itself, or its own positive
            above[rows - start] += (similar > own).sum(dim=1)
            ties[rows - start] += (similar == own).sum(dim=1)
    return above, ties


def accuracies(
    ranks: Tensor, topk: int, samples_per_chunk: int, *, skip_odd_chunks: bool = False, ties: Tensor | None = None
) -> Tensor:
    """Ranks [N] of all queries, and their `ties` [N] -> top-1..k in percent, [topk] float64."""
    if topk < 1 or samples_per_chunk < 1 or not len(ranks):
        raise UserError(f"top-{topk} of {len(ranks)} images in chunks of {samples_per_chunk}: each must be 1 or more")
    equal = torch.ones_like(ranks) if ties is None else ties + 1  # [N] images at the place of the positive
    ks = torch.arange(1, topk + 1, device=ranks.device)
    hits = ((ks - ranks[:, None]).double() / equal[:, None]).clamp(0, 1)  # [N, topk]
    chunks = hits.split(samples_per_chunk)[:: 2 if skip_odd_chunks else 1]
    return torch.stack([chunk.mean(dim=0) for chunk in chunks]).mean(dim=0) * 100


def printed(mode: str, accuracies: list[float], *, masked: str = "normal", checkpoint: str = "", data: str = "") -> str:
    """The line that ssl-small prints."""
    rounded = [round(value, 4) for value in accuracies]
    return f"Masked: {masked}; Mode: {mode}; Top1-{len(rounded)}: {rounded}; CKPT: {checkpoint}; Dataset: {data}"
