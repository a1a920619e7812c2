"""Read a checkpoint of a run, and load all entries of its network."""

from pathlib import Path
from typing import Any

from torch import nn

from ...shards.errors import UserError
from .files import State, load_file


def read(path: Path) -> dict[str, Any]:
    """A checkpoint of this project. UserError for another file."""
    saved = load_file(path)
    if not isinstance(saved, dict) or not {"step", "method", "recipe", "data", "scaler"} <= saved.keys():
        raise UserError(f"{path} is not a checkpoint of this project: it lacks step, method, recipe, data or scaler")
    return saved


def load_all(net: nn.Module, weights: State, path: Path) -> None:
    """Load all entries of a network. UserError that lists the entries that do not fit."""
    own = net.state_dict()
    wrong = [f"{k} missing" for k in own.keys() - weights.keys()]
    wrong += [f"{k} unknown" for k in weights.keys() - own.keys()]
    for k in own.keys() & weights.keys():
        if weights[k].shape != own[k].shape:
            wrong.append(f"{k} {tuple(weights[k].shape)} for {tuple(own[k].shape)}")
    if wrong:
        few = "; ".join(sorted(wrong)[:4])
        raise UserError(f"{path} is of another architecture, {len(wrong)} entries do not fit ({few}): give its --arch")
    net.load_state_dict(weights)
