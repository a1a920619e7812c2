"""The laws of a loader: the same views at any world size, from any step on, at every call, others for each showing."""

from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass
from itertools import chain

import numpy as np
import torch

from ..pipeline.batch import Batch, Loader
from ..pipeline.plan.order import Plan
from ..pipeline.plan.step import Epoch, listed, once, padded
from ..shards.manifest import Manifest
from .laws import require

WORLD_SIZES = (2, 3)
EPOCH = 1


def check_loader(open_loader: Callable[[Plan], Loader], manifest: Manifest, *, batch: int = 12, seed: int = 5) -> None:
    """BrokenLaw unless loaders keep their laws: bit for bit, between numbers of ranks up to rounding.

    `open_loader` returns a new loader over `manifest` for a plan at each call; loaders are closed here. `batch` is the
    global batch, a multiple of 6; `manifest` holds at least two batches.
    """
    plan = Plan(len(manifest), batch, seed=seed)
    with closing(open_loader(plan)) as loader:
        whole = list(loader.epoch(EPOCH))
        _check_batches(loader, plan, whole, manifest)
        _require_same(loader, whole, loader.epoch(EPOCH), "an epoch is the same every time")
        for start in range(1, len(plan) + 1):
            law = "a resume at any step gives the tail of the whole epoch"
            _require_same(loader, whole[start:], loader.epoch(EPOCH, start), law, f"from step {start}")
        next(loader.epoch(EPOCH), None)  # broken off
        _require_same(loader, whole, loader.epoch(EPOCH), "an epoch that was broken off leaves no trace")
    for world_size in WORLD_SIZES:
        _check_ranks(open_loader, plan, world_size, whole)
    _check_exact(open_loader, manifest, batch)
    _check_repeats(open_loader, manifest, plan, whole)


@dataclass(frozen=True)
class _Twice:
    """An order whose second half is its first half again."""

    half: np.ndarray  # [N] int64 ids

    def __len__(self) -> int:
        return 2 * len(self.half)

    def __call__(self, seed: int, epoch: int) -> Epoch:
        return padded(listed(once(self.half)), len(self.half))


def _check_batches(loader: Loader, plan: Plan, whole: list[Batch], manifest: Manifest) -> None:
    require(len(loader) == len(plan) == len(whole), loader, "an epoch has as many batches as the plan has steps")
    for ids, batch in zip(plan.ids(EPOCH), whole, strict=True):
        require(batch.index.tolist() == ids.tolist(), loader, "index names the rows of the plan, in its order")
        labels = manifest.label[ids].tolist()
        require(batch.target.tolist() == labels, loader, "target holds the labels of the rows")
        for view in batch.views:
            shape = tuple(view.shape)
            fits = len(shape) == 4 and shape[:2] == (len(ids), 3) and view.is_floating_point()
            require(fits, loader, "a view is [N, 3, S, S] and floating point", f"{shape} {view.dtype}")
            require(bool(view.isfinite().all()), loader, "views are finite")


def _check_ranks(open_loader: Callable[[Plan], Loader], plan: Plan, world_size: int, whole: list[Batch]) -> None:
    """The ranks' batches, joined in rank order, are those of one process."""
    loaders = [open_loader(Plan(plan.samples, plan.batch, world_size, r, plan.seed)) for r in range(world_size)]
    try:
        parts = zip(*(loader.epoch(EPOCH) for loader in loaders), strict=True)
        joined = (_joined(ranks) for ranks in parts)
        law = "the ranks' batches in rank order are the batches of one process"
        _require_same(loaders[0], whole, joined, law, f"{world_size} ranks", rounding=1e-5)
    finally:
        for loader in loaders:
            loader.close()


def _check_exact(open_loader: Callable[[Plan], Loader], manifest: Manifest, batch: int) -> None:
    plan = Plan(len(manifest), batch, tail="exact")
    with closing(open_loader(plan)) as loader:
        rows = list(chain.from_iterable(one.index.tolist() for one in loader.epoch(0)))
        law = "an evaluation shows every sample once"
        require(sorted(rows) == np.arange(len(manifest)).tolist(), loader, law, f"{len(rows)} of {len(manifest)}")


def _check_repeats(open_loader: Callable[[Plan], Loader], manifest: Manifest, plan: Plan, whole: list[Batch]) -> None:
    """One batch of `whole`, shown twice in an epoch."""
    first = whole[0]
    twice = Plan(len(manifest), plan.batch, seed=plan.seed, order=_Twice(first.index.cpu().numpy()))
    with closing(open_loader(twice)) as loader:
        once, again = list(loader.epoch(EPOCH))
        _require_same(loader, [first], iter([once]), "the first showing of an image does not depend on the order")
        law = "a resume at any step gives the tail of the whole epoch"
        _require_same(loader, [again], loader.epoch(EPOCH, 1), law, "from a second showing")
        random = not _same_views(once, next(iter(loader.epoch(EPOCH + 1))))
        law = "an image that an epoch shows again has other views"
        require(not (random and _same_views(once, again)), loader, law)


def _same_views(one: Batch, two: Batch) -> bool:
    return all(torch.equal(a, b) for a, b in zip(one.views, two.views, strict=True))


def _joined(ranks: tuple[Batch, ...]) -> Batch:
    views = tuple(torch.cat(parts) for parts in zip(*(batch.views for batch in ranks), strict=True))
    return Batch(views, torch.cat([b.target for b in ranks]), torch.cat([b.index for b in ranks]))


def _require_same(
    loader: Loader, right: list[Batch], found: Iterator[Batch], law: str, where: str = "", *, rounding: float = 0.0
) -> None:
    count = 0
    for count, (one, two) in enumerate(zip(right, found, strict=False), 1):
        same = torch.equal(one.index, two.index) and torch.equal(one.target, two.target)
        same = same and all(
            a.shape == b.shape and torch.allclose(a, b, rtol=0, atol=rounding)
            for a, b in zip(one.views, two.views, strict=True)
        )
        require(same, loader, law, f"{where}, batch {count} differs".lstrip(", "))
    ended = next(found, None) is None
    require(count == len(right) and ended, loader, law, f"{where}, another number of batches".lstrip(", "))
