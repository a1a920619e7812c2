"""The threads of a run: what the user asks for, what the checkpoint was trained with, or the rule."""

from pathlib import Path

import torch

from ..checkpoints.same import note
from ..methods.method import Method
from ..nets.encoder import Encoder
from ..ranks import world_size
from ..recipes.options import Recipe
from ..threads import Threads, all_cores, asked, by_size
from .options import Run


def of_run(recipe: Recipe, run: Run, method: Method, device: torch.device, last: Path | None, saved: int) -> Threads:
    """Torch's threads for a run of `method`, new or resumed from `last`, which was trained with `saved`.

    Losses on a CPU repeat only with the number of the checkpoint, so a resumed run takes that, unless --threads asks
    for another; a note says so.
    """
    if device.type != "cpu":
        return asked(run.threads) or all_cores()
    part = recipe.batch_size // (world_size() * recipe.accumulate)
    nets = [net.backbone for net in method.modules() if isinstance(net, Encoder)] or [method.backbone]
    new = asked(run.threads) or by_size(nets, recipe.size, part)
    if last is None or new.number == saved:
        return new
    if run.threads != "auto":
        note(f"{last} was trained with --threads {saved}: from here on losses are equal to rounding only")
        return new
    note(f"{new}; but {last} was trained with {saved}, which this run keeps: --threads {new.number} would change it")
    return Threads(saved, f"as {last} was trained with")
