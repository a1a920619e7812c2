"""Parts that several methods share: copies, moving averages, groups of BatchNorm statistics, queues."""

import copy
from collections.abc import Callable
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor, nn

from ...augment.draw import hashed
from ...augment.recipes import VIEWS
from ...augment.spec import Views, size_of
from ...shards.errors import UserError, plural
from ...shards.keyed import Purpose
from ..ranks import gather, rank, world_size
from ..recipes.options import Recipe, Tempered
from ..schedules import wave
from .method import Now


def frozen_copy(net: nn.Module) -> nn.Module:
    """A deep copy of `net` that takes no gradients."""
    return copy.deepcopy(net).requires_grad_(False)


@torch.no_grad()
def ema_(target: nn.Module, online: nn.Module, momentum: float) -> None:
    """target <- momentum target + (1 - momentum) online, for parameters only; buffers stay as they are."""
    pairs = list(zip(target.parameters(), online.parameters(), strict=True))
    torch._foreach_lerp_([t for t, _ in pairs], [o for _, o in pairs], 1 - momentum)  # pyright: ignore


@torch.no_grad()
def shuffle_bn(net: nn.Module, x: Tensor, order: Tensor) -> Tensor:
    """A `grouped` net on the global batch in `order` [W N]; returns this rank's rows in their own order.

    ShuffleBN (arXiv:1911.05722 3.3), here also between groups on one device: keys have other neighbors than queries.
    """
    share = slice(rank() * len(x), (rank() + 1) * len(x))  # this rank's rows of the global batch
    shuffled = gather(x)[order[share]]
    out = gather(net(shuffled))
    return out[order.argsort()[share]]


def permutation(samples: int, now: Now, purpose: Purpose, device: torch.device) -> Tensor:
    """A permutation [samples], keyed by seed and step: the same on every rank without a broadcast."""
    keys = hashed(now.seed, now.step, purpose, np.arange(samples, dtype=np.uint64))
    order = torch.from_numpy(keys.argsort(kind="stable"))
    return order.pin_memory().to(device, non_blocking=True) if device.type == "cuda" else order


def unit_rows(size: int, dim: int) -> Tensor:
    """Random unit rows [size, dim]."""
    return nn.functional.normalize(torch.randn(size, dim), dim=1)


class Queue(nn.Module):
    """The last K gathered rows, the same on every rank; buffers, so checkpoints hold them."""

    rows: Tensor
    head: Tensor

    def __init__(self, rows: Tensor):
        super().__init__()
        self.register_buffer("rows", rows)  # [K, ...], the oldest at `head`
        self.register_buffer("head", torch.zeros((), dtype=torch.long))

    @torch.no_grad()
    def push(self, rows: Tensor) -> None:
        """Write all ranks' rows, in rank order, over the oldest rows."""
        rows = gather(rows)
        check_queue(len(self.rows), len(rows))
        at = (torch.arange(len(rows), device=rows.device) + self.head) % len(self.rows)
        self.rows[at] = rows.to(self.rows.dtype)
        self.head.add_(len(rows)).remainder_(len(self.rows))


class Wave(NamedTuple):
    """A temperature that falls from `high` to `low` and rises again within `period` epochs of `epochs`, step by step.

    tau(t) = (high - low) (1 + cos(2 pi t / T)) / 2 + low with t and T in steps (Kukleva et al., "Temperature Schedules
    for Self-Supervised Contrastive Methods on Long-Tail Data", arXiv:2303.13664; they count both in epochs).
    """

    low: float
    high: float
    period: int
    epochs: int

    @classmethod
    def of(cls, recipe: Tempered, low: float) -> "Wave | None":
        """That of a recipe; None if its temperature, `low`, is constant."""
        high, period = recipe.temperature_max, recipe.temperature_period
        return cls(low, high, period, recipe.epochs) if high else None

    def __call__(self, now: Now) -> float:
        return wave(now.step, self.period * now.total / self.epochs, self.low, self.high)


def check_wave(recipe: Tempered, low: float) -> None:
    """UserError unless both options of a changing temperature are given, and its highest value is above `low`."""
    high, period = recipe.temperature_max, recipe.temperature_period
    if bool(high) != bool(period):
        raise UserError(
            f"--temperature-max {high:g} and --temperature-period {period} go together: give both, such as 1 and 200, "
            f"or none"
        )
    if high and high <= low:
        raise UserError(f"--temperature-max {high:g} is not above --temperature {low:g}: raise it, or leave it out")


ONE_ENCODER = "its queue takes a whole batch of keys per step, made by one key encoder"


def check_groups(groups: int, batch: int) -> None:
    """UserError unless `groups` divide a global batch into equal parts of two or more, as many on every rank."""
    if groups < 1 or groups % world_size() or batch % groups or batch // groups < 2:
        raise UserError(
            f"{groups} groups of BatchNorm statistics do not cut a global batch of {batch} on "
            f"{plural(world_size(), 'rank')} into equal parts of two or more: choose --bn-groups as a multiple of the "
            "ranks that divides the batch"
        )


def check_queue(queue: int, batch: int, samples: int | None = None) -> None:
    """UserError unless whole global batches fill a queue of `queue` rows and the set has at least as many `samples`."""
    if not queue or queue % batch:
        raise UserError(
            f"a queue of {queue} rows cannot be filled by global batches of {batch}: make --batch-size divide --queue"
        )
    if samples is not None and queue > samples:
        raise UserError(
            f"a queue of {queue} rows would hold images of a set of {samples} more than once, each its own negative: "
            f"lower --queue"
        )


def two_views(views: Views) -> bool:
    """Whether there are two views of one size."""
    return len(views) == 2 and size_of(views[0]) == size_of(views[1])


def two_and_smaller(views: Views) -> bool:
    """Whether there are two views of one size, and if more, smaller ones of one size."""
    small = {size_of(view) for view in views[2:]}
    return two_views(views[:2]) and (not small or (len(small) == 1 and max(small) < size_of(views[0])))


def one_view(views: Views) -> bool:
    """Whether there is one view."""
    return len(views) == 1


def check_views(recipe: Recipe, views: Views, fit: Callable[[Views], bool], needed: str) -> None:
    """UserError unless the views `fit`; it lists the recipes of views that do, and `needed` says what they have."""
    if not fit(views):
        sizes = [size_of(view) for view in views]
        names = ", ".join(name for name, make in VIEWS.items() if fit(make(recipe.size)))
        raise UserError(
            f"--views {recipe.views} makes views of {sizes} px: {recipe.method} takes {needed}, as of --views {names}"
        )


def check_whole_batch(recipe: Recipe, reason: str) -> None:
    """UserError, with the method's `reason`, for a recipe that takes a batch in parts."""
    if recipe.accumulate > 1:
        raise UserError(
            f"{recipe.method} does not take --accumulate {recipe.accumulate}: {reason}; lower --batch-size and --lr"
        )
