"""Checkpoints: written atomically, read with `weights_only`, refused with reasons."""

from pathlib import Path
from typing import Any

import torch
from torch import nn

from ..shards.errors import UserError
from ..shards.files import atomic
from .ranks import gather, rank, world
from .recipes import Recipe

State = dict[str, Any]


def save(path: Path, method: nn.Module, optimizer: torch.optim.Optimizer, about: State, step: int) -> None:
    """Rank 0's state; all ranks agree on it but for BatchNorm's running statistics, which training does not read.
    `about` names the recipe and the data that the state belongs to. UserError, on every rank, for weights that are not
    finite: the loss that was checked is from before the step that made them."""
    if not torch.stack([p.detach().sum() for p in method.parameters()]).isfinite().all():
        raise UserError(f"the weights are not finite after step {step}: lower --lr; the last checkpoint is from before")
    if rank():
        return
    state = {
        "step": step,
        "method": method.state_dict(),
        "optimizer": optimizer.state_dict(),
        "world": world(),
        "threads": torch.get_num_threads(),
        **about,
    }
    with atomic(path) as file:  # a killed run leaves the previous checkpoint whole
        torch.save(state, file)


def read(path: Path) -> State:
    """A checkpoint of ours, on the CPU."""
    if not path.exists():
        raise UserError(f"there is no checkpoint {path}: train first, or name another")
    try:
        state = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # torch's own errors have no common base
        first = (str(error).splitlines() or [type(error).__name__])[0]
        raise UserError(f"{path} is not a readable checkpoint ({first}): train again, or name another") from None
    if not isinstance(state, dict) or not {"step", "method", "recipe", "data"} <= state.keys():
        raise UserError(f"{path} is not a checkpoint of this project: it lacks step, method, recipe or data")
    return state


def recipe_of(state: State) -> Recipe:
    """The recipe a checkpoint was trained with."""
    return Recipe(**state["recipe"])


def resume(path: Path, method: nn.Module, optimizer: torch.optim.Optimizer, about: State) -> int:
    """Load a checkpoint into both and return the steps taken; UserError when it is of another recipe or data set."""
    state = read(path)
    for what, remedy in (("recipe", "repeat its options"), ("data", "name its --data")):
        was, now = state[what], about[what]
        changed = [f"{k} {was.get(k)!r} -> {v!r}" for k, v in now.items() if was.get(k) != v]
        if changed:
            raise UserError(
                f"{path} was trained with another {what} ({'; '.join(changed)}): "
                f"{remedy}, or start anew with another --out"
            )
    load(method, state["method"], path)
    optimizer.load_state_dict(state["optimizer"])
    for what, here in (("world", world()), ("threads", torch.get_num_threads())):
        if state[what] != here and not rank():
            print(
                f"note: saved with {what} {state[what]}, now {here}: same ids and draws, losses equal to rounding only"
            )
    steps = gather(torch.tensor([state["step"]], device=next(method.parameters()).device))
    if (steps != steps[0]).any():
        raise UserError(f"the ranks read different checkpoints at {path} (steps {steps.tolist()}): share the folder")
    return state["step"]


def load(net: nn.Module, weights: State, path: Path) -> None:
    """Strictly; UserError that lists what does not fit."""
    own = net.state_dict()
    wrong = [f"{k} missing" for k in own.keys() - weights.keys()]
    wrong += [f"{k} unknown" for k in weights.keys() - own.keys()]
    wrong += [f"{k} {tuple(weights[k].shape)} for {tuple(own[k].shape)}" for k in own.keys() & weights.keys()
              if weights[k].shape != own[k].shape]  # fmt: skip
    if wrong:
        few = "; ".join(sorted(wrong)[:4])
        raise UserError(f"{path} is of another architecture, {len(wrong)} entries do not fit ({few}): give its --arch")
    net.load_state_dict(weights)
