"""All decisions about a batch, made before a pixel is read: crops, parameters and targets. Pure functions."""

from collections.abc import Iterable, Iterator
from itertools import chain
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from ...augment.crops import crop_params, rest
from ...augment.draw import draw, hashed, user_keys
from ...augment.renderers.packing import pack
from ...augment.spec import Views
from ...shards.keyed import Purpose
from ...shards.manifest import Manifest

TOGETHER = 1024  # samples drawn at once


class BatchParams(NamedTuple):
    """The decisions about samples `rows`, for every view."""

    rows: np.ndarray  # [N] int64 manifest rows
    boxes: np.ndarray  # [N, V, CROP_FIELDS] int32: augment.crops.crop_params
    packed: tuple[Tensor, ...]  # for each view the parameters of the ops after the crop, [N, P] float32
    keys: Tensor  # [N, V] int64: augment.draw.user_keys, for the user's ops
    target: Tensor  # [N] int64


def batch_params(manifest: Manifest, views: Views, rows: np.ndarray, seed: int, epoch: int) -> BatchParams:
    """Crops, parameters and targets of samples `rows` [N] in an epoch."""
    uid, hw = manifest.uid[rows], manifest.hw[rows]
    draws = [draw(view, uid, hw, seed=seed, epoch=epoch, number=i) for i, view in enumerate(views)]
    boxes = [crop_params(view, drawn, hw) for view, drawn in zip(views, draws, strict=True)]
    packed = [torch.from_numpy(pack(rest(view, drawn), len(rows))) for view, drawn in zip(views, draws, strict=True)]
    keys = np.stack([user_keys(uid, seed=seed, epoch=epoch, number=i) for i in range(len(views))], axis=1)
    target = torch.from_numpy(manifest.label[rows].astype(np.int64))
    return BatchParams(rows, np.stack(boxes, axis=1), tuple(packed), torch.from_numpy(keys), target)


def batch_params_ahead(
    manifest: Manifest, views: Views, steps: Iterable[np.ndarray], seed: int, epoch: int
) -> Iterator[BatchParams]:
    """`batch_params` of each of `steps`, drawn for TOGETHER samples or more per call: the cost is per call."""
    held: list[np.ndarray] = []
    for rows in chain(steps, [None]):
        if rows is not None:
            held.append(rows)
        if held and (rows is None or sum(map(len, held)) >= TOGETHER):
            whole = batch_params(manifest, views, np.concatenate(held), seed, epoch)
            ends = np.cumsum([len(step) for step in held])
            for part in (slice(int(end) - len(step), int(end)) for end, step in zip(ends, held, strict=True)):
                packed = tuple(view[part] for view in whole.packed)
                yield BatchParams(whole.rows[part], whole.boxes[part], packed, whole.keys[part], whole.target[part])
            held = []


def replacements(
    manifest: Manifest, rows: np.ndarray, failed: list[int], seed: int, epoch: int, tries: int
) -> np.ndarray:
    """`rows` [N] with another sample, chosen by a hash, at each failed position; the same through every reader.

    `tries` counts from 0: a replacement that is damaged itself is replaced in turn.
    """
    rows = rows.copy()
    rows[failed] = hashed(seed, epoch, Purpose.REPLACEMENT, tries, manifest.uid[rows[failed]]) % np.uint64(
        len(manifest)
    )
    return rows
