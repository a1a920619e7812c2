"""A loss or gradient that is not finite: the step, the images, and failure.json, which keeps both."""

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple

import torch
from torch import Tensor

from ...shards.errors import command
from ...shards.files import atomic, writing
from ..checkpoints.files import from_before
from ..methods.method import Stats
from ..ranks import gather, rank, shared, world_size

_norms = torch._foreach_norm  # pyright: ignore[reportPrivateImportUsage]


class Taken(NamedTuple):
    """What an optimizer step leaves, on its device: the mean loss of its parts, the stats of the last one, the sum of
    the gradient's magnitudes, and the manifest rows of each part's images."""

    loss: Tensor
    stats: Stats
    gradient: Tensor
    ids: tuple[Tensor, ...]


def magnitude(parameters: Sequence[Tensor]) -> Tensor:
    """The sum of the magnitudes of all gradients, a scalar on their device: finite only if each of them is."""
    gradients = [p.grad for p in parameters if p.grad is not None]
    return torch.stack(_norms(gradients, 1)).sum() if gradients else torch.zeros(())


def report(folder: Path, interval: list[Taken], step: int, lr: Callable[[int], float], epoch: int) -> str:
    """Find the first step of `interval`, which ends with step number `step`, that is not finite on some rank; write it
    into failure.json. Returns the error in words; all ranks have to call it."""
    own = torch.stack([torch.stack([taken.loss.float(), taken.gradient.float()]) for taken in interval])
    values = gather(own[None]).cpu()  # [ranks, steps, 2]
    bad = ~values.isfinite()
    first = max(range(len(interval)), key=lambda n: bool(bad[:, n].any()))  # the first of the largest
    number = step - len(interval) + 1 + first
    ids = gather(torch.cat(interval[first].ids)[None].to(own.device)).tolist()
    losses, gradients = values[:, first].T.tolist()
    what = "loss" if bad[:, first, 0].any() else "gradient"
    found = {"step": number, "epoch": epoch, "lr": lr(number - 1), "what": what}
    found |= {"loss": [*map(str, losses)], "gradient": [*map(str, gradients)], "ids": ids}  # JSON has no word for nan
    before = from_before(folder)
    words = f"the {what} {_where(bad[:, first, 0], losses) if what == 'loss' else 'is not finite'} at step {number}"
    shows = command("python tools/replay.py", folder, "--step", number)
    words += f" (epoch {epoch}, lr {found['lr']:.3g}), failure.json has its images, `{shows}` shows them: lower --lr"
    words += before
    if not rank():
        path = folder / "failure.json"
        with writing(path, words), atomic(path, "w") as file:
            json.dump(found | {"checkpoint": "last.pt" if before else None}, file, indent=1)
    return shared(words)  # the first rank that ends would end rank 0 too


def _where(bad: Tensor, losses: list[float]) -> str:
    """The loss that is not finite, and its rank if there are several."""
    number = int(bad.int().argmax())
    return f"of rank {number} is {losses[number]}" if world_size() > 1 else f"is {losses[number]}"
