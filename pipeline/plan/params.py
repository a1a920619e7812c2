"""All decisions about a batch, made before a pixel is read: crops, parameters and targets. Pure functions."""

from collections.abc import Iterable, Iterator
from itertools import chain
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from ...augment.crops import crop_params, rest
from ...augment.draw import again, draw, hashed, user_keys
from ...augment.renderers.packing import pack
from ...augment.spec import Views
from ...shards.keyed import Purpose
from ...shards.manifest import Manifest
from .step import Step

TOGETHER = 1024  # samples drawn at once


class BatchParams(NamedTuple):
    """The decisions about samples `rows`, for every view."""

    rows: np.ndarray  # [N] int64 manifest rows
    occurrence: np.ndarray  # [N] int64, as of `Step`
    boxes: np.ndarray  # [N, V, CROP_FIELDS] int32: augment.crops.crop_params
    packed: tuple[Tensor, ...]  # for each view the parameters of the ops after the crop, [N, P] float32
    keys: Tensor  # [N, V] int64: augment.draw.user_keys, for the user's ops
    target: Tensor  # [N] int64


def batch_params(
    manifest: Manifest, views: Views, rows: np.ndarray, seed: int, epoch: int, occurrence: int | np.ndarray = 0
) -> BatchParams:
    """Crops, parameters and targets of samples `rows` [N] in an epoch; `occurrence`, a number or [N], as of `Step`.
    UserError for a row whose numbers are out of bounds: machine code reads and writes by them."""
    manifest.check(rows)
    uid, hw, occurrence = manifest.uid[rows], manifest.hw[rows], np.broadcast_to(occurrence, len(rows))
    key = {"seed": seed, "epoch": epoch, "occurrence": occurrence}
    draws = [draw(view, uid, hw, number=i, **key) for i, view in enumerate(views)]
    boxes = [crop_params(view, drawn, hw) for view, drawn in zip(views, draws, strict=True)]
    packed = [torch.from_numpy(pack(rest(view, drawn), len(rows))) for view, drawn in zip(views, draws, strict=True)]
    keys = np.stack([user_keys(uid, number=i, **key) for i in range(len(views))], axis=1)
    target = torch.from_numpy(manifest.label[rows].astype(np.int64))
    return BatchParams(rows, occurrence, np.stack(boxes, axis=1), tuple(packed), torch.from_numpy(keys), target)


def batch_params_ahead(
    manifest: Manifest, views: Views, steps: Iterable[Step], seed: int, epoch: int
) -> Iterator[BatchParams]:
    """`batch_params` of each of `steps`, drawn for TOGETHER samples or more per call: the cost is per call."""
    held: list[Step] = []
    for step in chain(steps, [None]):
        if step is not None:
            held.append(step)
        lengths = [len(each.rows) for each in held]
        if held and (step is None or sum(lengths) >= TOGETHER):
            rows, occurrence = map(np.concatenate, zip(*held, strict=True))
            whole = batch_params(manifest, views, rows, seed, epoch, occurrence)
            for end, length in zip(np.cumsum(lengths).tolist(), lengths, strict=True):
                yield _part(whole, slice(end - length, end))
            held = []


def _part(whole: BatchParams, part: slice) -> BatchParams:
    rows, occurrence, boxes, packed, keys, target = whole
    packed = tuple(view[part] for view in packed)
    return BatchParams(rows[part], occurrence[part], boxes[part], packed, keys[part], target[part])


def replacements(
    manifest: Manifest,
    rows: np.ndarray,
    failed: list[int],
    seed: int,
    epoch: int,
    tries: int,
    occurrence: int | np.ndarray = 0,
) -> np.ndarray:
    """`rows` [N] with another sample, chosen by a hash, at each failed position; the same through every reader.

    `tries` counts from 0: a replacement that is damaged itself is replaced in turn. `occurrence` as of
    `Step`.
    """
    rows, occurrence = rows.copy(), np.broadcast_to(occurrence, len(rows))
    keys = hashed(seed, epoch, Purpose.REPLACEMENT, tries, manifest.uid[rows[failed]])
    rows[failed] = again(keys, occurrence[failed]) % np.uint64(len(manifest))
    return rows
