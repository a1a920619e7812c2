"""Read a checkpoint of a run, and load all entries of its network."""

from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from ...shards.errors import UserError
from .files import State, load_file

# What there may be in a checkpoint, and of which kinds; earlier versions wrote less.
PARTS: dict[str, tuple[type, ...]] = dict.fromkeys(("method", "recipe", "data", "scaler", "optimizer"), (dict,))
PARTS |= {name: (dict, type(None)) for name in ("val", "start", "versions")}
PARTS |= dict.fromkeys(("step", "per_epoch", "measured", "world", "threads"), (int,)) | {"best": (float, int)}


def read(path: Path) -> dict[str, Any]:
    """A checkpoint of this project. UserError for another file."""
    saved = load_file(path)
    if not isinstance(saved, dict) or not {"step", "method", "recipe", "data", "scaler"} <= saved.keys():
        raise UserError(f"{path} is not a checkpoint of this project: it lacks step, method, recipe, data or scaler")
    for name, kinds in PARTS.items():
        if name in saved and not isinstance(saved[name], kinds):
            raise UserError(f"{path} is not a checkpoint of this project: its {name} is no {kinds[0].__name__}")
    return saved


def load_all(net: nn.Module, weights: State, path: Path) -> None:
    """Load all entries of a network. UserError that lists the entries that do not fit."""
    own = net.state_dict()
    wrong = [f"{k} missing" for k in own.keys() - weights.keys()]
    wrong += [f"{k} unknown" for k in weights.keys() - own.keys()]
    for k in own.keys() & weights.keys():
        if not isinstance(weights[k], Tensor) or weights[k].shape != own[k].shape:
            wrong.append(f"{k} {tuple(getattr(weights[k], 'shape', ()))} for {tuple(own[k].shape)}")
    if wrong:
        few = "; ".join(sorted(wrong)[:4])
        raise UserError(f"{path} is of another architecture, {len(wrong)} entries do not fit ({few}): give its --arch")
    net.load_state_dict(weights)


def load_optimizer(optimizer: torch.optim.Optimizer, scaler: torch.amp.GradScaler, saved: dict[str, Any]) -> None:
    """Load the state of an optimizer and of the scaler of the loss. ValueError for one that is not of these weights."""
    state = saved["optimizer"]
    own = optimizer.state_dict()
    if not isinstance(state.get("state"), dict) or not isinstance(state.get("param_groups"), list):
        raise ValueError("it has no state or no groups")
    for was, now in zip(state["param_groups"], own["param_groups"], strict=True):
        if not isinstance(was, dict) or was.get("params") != now["params"]:
            raise ValueError("its groups are of other weights")
        if other := [name for name, value in was.items() if name in now and not _alike(value, now[name])]:
            raise ValueError(f"its {other[0]} is {str(was[other[0]])[:40]}")
    weights = [weight for group in optimizer.param_groups for weight in group["params"]]
    numbers = [number for group in own["param_groups"] for number in group["params"]]
    shapes = {number: weight.shape for number, weight in zip(numbers, weights, strict=True)}
    for number, values in state["state"].items():
        for name, value in values.items():
            if isinstance(value, Tensor) and value.ndim and value.shape != shapes.get(number):
                raise ValueError(f"its {name} has the shape {tuple(value.shape)}")
    optimizer.load_state_dict(state)
    if saved["scaler"]:  # empty after a run without loss scaling, as one on a CPU
        scaler.load_state_dict(saved["scaler"])


def _alike(value: Any, own: Any) -> bool:
    """Whether a setting is of the kind that it is here; whole numbers may stand for others."""
    return type(value) is type(own) or None in (value, own) or {type(value), type(own)} <= {int, float}
