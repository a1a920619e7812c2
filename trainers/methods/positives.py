"""Several positives: the choice among queued images of an anchor's class, and its losses (spec: BalFeat 4)."""

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from ...augment.draw import hashed
from ...shards.keyed import Purpose
from .method import Now

_NONE = torch.iinfo(torch.int32).min  # below every slot's number


def lowest_first(slots: int, device: torch.device) -> Tensor:
    """The order of slots in memory, [K] int32: the lowest slot has the highest number."""
    return torch.arange(slots, 0, -1, dtype=torch.int32, device=device)


def random_order(begin: int, anchors: int, slots: int, now: Now, device: torch.device) -> Tensor:
    """Random orders of slots, [N, K] int32, for the global batch's anchors from `begin` on; keyed by seed and step."""
    keys = hashed(now.seed, now.step, Purpose.POSITIVES, np.arange(begin, begin + anchors, dtype=np.uint64))
    words = torch.from_numpy(keys.view(np.int32).reshape(anchors, 2))
    words = words.pin_memory().to(device, non_blocking=True) if device.type == "cuda" else words
    return slot_hashes(words, slots)


def slot_hashes(words: Tensor, slots: int) -> Tensor:
    """Hashes of slots, [N, K] int32, different for every slot of a row, from two int32 words per row, [N, 2].

    They are murmur3's finalizer with a second key half way. Integers wrap the same on every device, so a GPU and a CPU
    choose alike. Takes three arrays of [N, K].
    """
    x = torch.arange(slots, dtype=torch.int32, device=words.device) + words[:, :1]
    x ^= _shifted(x, 16)
    x *= 0x85EBCA6B - 2**32
    x += words[:, 1:]
    x ^= _shifted(x, 13)
    x *= 0xC2B2AE35 - 2**32
    x ^= _shifted(x, 16)
    return x.clamp_(min=_NONE + 1)


def _shifted(x: Tensor, bits: int) -> Tensor:
    return (x >> bits).bitwise_and_((1 << (32 - bits)) - 1)  # >> alone would extend the sign


def picked(same: Tensor, order: Tensor, k: int) -> Tensor:
    """Chosen slots [N, K] bool: in each row of `same` [N, K] bool the k true slots of highest `order`, or all if fewer.

    `order` is int32, [N, K] or one [K] for all rows.
    """
    top = torch.where(same, order, _NONE).topk(min(k, same.shape[1]), dim=1).indices  # [N, k]
    return torch.zeros_like(same).scatter_(1, top, True) & same


def soft_targets(chosen: Tensor, dtype: torch.dtype = torch.float32) -> Tensor:
    """Chosen slots [N, K] bool -> targets [N, 1 + K]: equal shares for the own key, column 0, and the chosen slots."""
    positive = F.pad(chosen, (1, 0), value=True)
    return positive.to(dtype) / positive.sum(dim=1, keepdim=True)


def set_aside(scores: Tensor, unused: Tensor) -> Tensor:
    """Logits [N, 1 + K], set to 0 where `unused` [N, K] bool; a 0 still adds exp(0) to the softmax's denominator."""
    return scores.masked_fill(F.pad(unused, (1, 0)), 0.0)


def summed(scores: Tensor, chosen: Tensor) -> Tensor:
    """-log of the positives' summed softmax [N], from logits [N, 1 + K] and chosen slots [N, K] bool."""
    others = F.pad(~chosen, (1, 0))
    return scores.logsumexp(dim=1) - scores.masked_fill(others, -torch.inf).logsumexp(dim=1)
