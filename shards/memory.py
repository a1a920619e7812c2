"""Data sets that are described only in memory: for a reader of your own, and for tests."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from .columns import NUMBERS
from .errors import UserError, plural
from .info import DatasetInfo, class_counts
from .manifest import Manifest, uid_of


def in_memory(
    name: str,
    keys: Sequence[str],
    label: np.ndarray,
    hw: np.ndarray,
    classes: Sequence[str] = (),
    *,
    split: str = "train",
    bytes: np.ndarray | None = None,
    source: Sequence[str] | None = None,
    root: Path | None = None,
) -> Manifest:
    """The manifest of N images that no build wrote; UserError when the arguments do not fit together.

    `keys` [N] are unique names class/stem, `label` [N] indexes `classes` (-1 = unlabeled), `hw` [N, 2] are heights and
    widths in px, `bytes` [N] sizes of the JPEGs, `source` [N] the files' paths under `root`. Columns that such a set
    does not have (shard, offset, beton, and bytes by default) are -1. Messages show `root`, by default the name.
    """
    if not len(keys) == len(label) == len(hw):
        given = f"{len(keys)} keys, {len(label)} labels and {len(hw)} sizes"
        raise UserError(f"{name} has {given}: give one of each per image")
    if repeated := len(keys) - len(set(keys)):
        raise UserError(f"{name} has {plural(repeated, 'repeated key')}, but a key names one image: make them unique")
    label, hw = np.asarray(label), np.asarray(hw).reshape(-1, 2)
    if len(label) and label.max() >= len(classes):
        raise UserError(
            f"{name} has label {label.max()}, {plural(len(classes), 'class')}: name a class for every label"
        )
    absent = np.full(len(keys), -1)
    columns = {"uid": list(map(uid_of, keys)), "label": label, "hw": hw}
    columns |= {"bytes": absent if bytes is None else bytes, "shard": absent, "offset": absent, "beton": absent}
    info = DatasetInfo(
        name=name,
        split=split,
        subset={"name": "full", "from": "memory", "split": split},
        classes=tuple(classes),
        counts=class_counts(label, classes),
        samples=len(keys),
        encoding={},
        formats=("plain",),
        files=(),
        report={"normalised": {}, "suspect": [], "skipped": []},
    )
    numbers: dict[str, Any] = {n: np.ascontiguousarray(columns[n], kind.base) for n, kind in NUMBERS.items()}
    return Manifest(
        root=root or Path(name),
        info=info,
        chosen=None,
        **numbers,
        text={"key": list(keys)} | ({} if source is None else {"source": list(source)}),
    )
