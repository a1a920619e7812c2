"""Instance discrimination: is an image's other view nearer to it than any other image? (spec small_sts A.7b)

    rank_i = #{j != i : q_i.g_j > q_i.p_i}        top-k hit: rank_i < k
    d-sd   q original, p view 1        sd-sd   q view 1, p view 2        g = q, as the release has it, or g = p

Accuracy is the plain mean over chunks of rows, so a short last chunk weighs as much as a full one. What the release
concludes from words in a path (every second chunk asks) and from an unknown mode (garbage) is an argument and an error.
"""

from collections.abc import Iterator
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor

from ...shards.errors import UserError, choose

CHUNK, BLOCK = 1024, 16384  # queries and gallery rows at a time: memory above the features is their product in floats
MODES = {"d-sd": (0, 1), "sd-sd": (1, 2)}
Gallery = Literal["queries", "views"]


def instdisc(
    views: tuple[Tensor, ...], *, mode: str = "d-sd", topk: int = 5, samples_per_chunk: int = 100,
    skip_odd_chunks: bool = False, gallery: Gallery = "queries",
) -> Iterator[tuple[str, float]]:  # fmt: skip
    """Top-1..k in percent, of raw features of the original and its views, each [N, D]."""
    q, p = pair(views, mode)
    found = accuracies(ranks(q, p, gallery=gallery), topk, samples_per_chunk, skip_odd_chunks=skip_odd_chunks)
    for k, value in enumerate(found.tolist(), 1):
        yield f"instdisc/{mode} top{k}", value


def pair(views: tuple[Tensor, ...], mode: str) -> tuple[Tensor, Tensor]:
    """Unit queries and their positives, [N, D] each; UserError for an unknown mode or too few views."""
    which = MODES[choose("mode", mode, MODES)]
    if len(views) <= max(which):
        raise UserError(f"mode {mode} compares view {max(which)}, the set has {len(views) - 1}: make it with --views 2")
    q, p = (F.normalize(views[i].float(), dim=1) for i in which)
    return q, p


@torch.no_grad()
def ranks(q: Tensor, p: Tensor, *, gallery: Gallery = "queries", part: slice = slice(None)) -> Tensor:
    """Other images that are strictly nearer to a query than its positive is: [n] int64 for the queries of `part`.

    Unit rows q, p [N, D]. Ranks of a process group take a part each and gather."""
    others = q if choose("gallery", gallery, ("queries", "views")) == "queries" else p
    start, end, _ = part.indices(len(q))
    out = torch.zeros(end - start, dtype=torch.long, device=q.device)
    for at in range(start, end, CHUNK):
        mine = torch.arange(at, min(at + CHUNK, end), device=q.device)
        own = (q[mine] * p[mine]).sum(dim=1, keepdim=True)  # [n, 1]
        for first in range(0, len(q), BLOCK):
            nearer = q[mine] @ others[first : first + BLOCK].T > own  # [n, BLOCK]
            inside = (mine >= first) & (mine < first + BLOCK)
            nearer[inside.nonzero()[:, 0], mine[inside] - first] = False  # the query itself, or its own positive
            out[mine - start] += nearer.sum(dim=1)
    return out


def accuracies(ranks: Tensor, topk: int, samples_per_chunk: int, *, skip_odd_chunks: bool = False) -> Tensor:
    """Ranks [N] of all queries -> top-1..k in percent, [topk] float64."""
    if topk < 1 or samples_per_chunk < 1 or not len(ranks):
        raise UserError(f"top-{topk} of {len(ranks)} images in chunks of {samples_per_chunk}: each must be 1 or more")
    chunks = ranks.split(samples_per_chunk)[:: 2 if skip_odd_chunks else 1]
    ks = torch.arange(1, topk + 1, device=ranks.device)
    return torch.stack([(chunk[:, None] < ks).double().mean(dim=0) for chunk in chunks]).mean(dim=0) * 100


def printed(mode: str, accuracies: list[float], *, masked: str = "normal", checkpoint: str = "", data: str = "") -> str:
    """The line that ssl-small prints."""
    rounded = [round(value, 4) for value in accuracies]
    return f"Masked: {masked}; Mode: {mode}; Top1-{len(rounded)}: {rounded}; CKPT: {checkpoint}; Dataset: {data}"
