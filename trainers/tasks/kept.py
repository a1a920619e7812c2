"""Features that are kept in files for the next evaluation of the same network and set."""

import logging
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from ...shards.files import atomic, make_folder, writing
from ...shards.zips import damaged_member
from ..ranks import gather, rank

LOG = logging.getLogger(__name__)

Features = tuple[Tensor, Tensor]  # [N, D], and labels [N]


def kept(file: Path, device: torch.device, compute: Callable[[], Features]) -> Features:
    """The features in `file`, on every rank; those that all ranks `compute` and rank 0 writes there unless every rank
    finds them whole."""
    if _whole_everywhere(file, device):
        with np.load(file) as arrays:
            return tuple(torch.from_numpy(arrays[k]).to(device) for k in ("features", "labels"))  # pyright: ignore
    x, y = compute()
    if not rank():
        with writing(file):
            make_folder(file.parent)
            with atomic(file) as out:
                np.savez(out, features=x.cpu().numpy(), labels=y.cpu().numpy())
    return x, y


def _whole_everywhere(file: Path, device: torch.device) -> bool:
    """Whether every rank finds the features in `file` whole: else all compute them together. A note of damage."""
    state = 0 if not file.exists() else 1 if damaged_member(file) else 2
    states = gather(torch.tensor([state], device=device))
    if (states == 1).any() and not rank():
        LOG.warning(f"note: {file} is damaged: its features are computed and written again")
    return bool((states == 2).all())
