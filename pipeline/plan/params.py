"""All that is decided about a batch before a pixel is read: cuts, parameters, targets. A pure function."""

from collections.abc import Iterable, Iterator
from itertools import chain
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from ...augment.crops import crop_params, rest
from ...augment.draw import draw, hashed
from ...augment.renderers.packing import pack
from ...augment.spec import Views
from ...shards.keyed import Purpose
from ...shards.manifest import Manifest

TOGETHER = 1024  # samples drawn at once


class BatchParams(NamedTuple):
    """Of samples `rows`, for every view."""

    rows: np.ndarray  # [N] int64 manifest rows
    boxes: np.ndarray  # [N, V, CROP_FIELDS] int32: augment.crops.crop_params
    packed: tuple[Tensor, ...]  # a view's parameters behind the cut, [N, P] float32
    target: Tensor  # [N] int64


def batch_params(manifest: Manifest, views: Views, rows: np.ndarray, seed: int, epoch: int) -> BatchParams:
    """Cuts, parameters and targets of samples `rows` [N] in an epoch."""
    uid, hw = manifest.uid[rows], manifest.hw[rows]
    draws = [draw(view, uid, hw, seed=seed, epoch=epoch, number=i) for i, view in enumerate(views)]
    boxes = [crop_params(view, one, hw) for view, one in zip(views, draws, strict=True)]
    packed = [torch.from_numpy(pack(rest(view, one), len(rows))) for view, one in zip(views, draws, strict=True)]
    return BatchParams(
        rows, np.stack(boxes, axis=1), tuple(packed), torch.from_numpy(manifest.label[rows].astype(np.int64))
    )


def batch_params_ahead(
    manifest: Manifest, views: Views, steps: Iterable[np.ndarray], seed: int, epoch: int
) -> Iterator[BatchParams]:
    """`batch_params` of each of `steps`, several at a time: what a call costs does not grow with the samples."""
    held: list[np.ndarray] = []
    for rows in chain(steps, [None]):
        if rows is not None:
            held.append(rows)
        if held and (rows is None or sum(map(len, held)) >= TOGETHER):
            whole = batch_params(manifest, views, np.concatenate(held), seed, epoch)
            ends = np.cumsum([len(one) for one in held])
            for part in (slice(int(end) - len(one), int(end)) for end, one in zip(ends, held, strict=True)):
                packed = tuple(one[part] for one in whole.packed)
                yield BatchParams(whole.rows[part], whole.boxes[part], packed, whole.target[part])
            held = []


def replacements(
    manifest: Manifest, rows: np.ndarray, failed: list[int], seed: int, epoch: int, tries: int
) -> np.ndarray:
    """`rows` [N] with a keyed other sample at each position that failed, the same through every reader.

    `tries` counts from 0: a replacement that is damaged itself gets one in turn.
    """
    rows = rows.copy()
    rows[failed] = hashed(seed, epoch, Purpose.REPLACEMENT, tries, manifest.uid[rows[failed]]) % np.uint64(
        len(manifest)
    )
    return rows
