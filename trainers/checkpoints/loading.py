"""Load any checkpoint into a network: backbone alone, or backbone and head (docs/checkpoints.md).

`Loaded` lists what was left out; entries that the network lacks or that have another shape are an error.
"""

from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

from torch import nn

from ...shards.errors import UserError
from ..nets.encoder import Encoder
from .files import State
from .layouts import Weights, read
from .sections import HEADS


class Match(NamedTuple):
    """Result of comparing the entries of a checkpoint with a network."""

    take: State  # entries to load, under the network's own names
    left: list[str]  # entries of a head that the network does not have
    wrong: list[str]  # every reason that prevents loading: an entry and what is wrong with it


@dataclass(frozen=True)
class Loaded:
    """Names of the entries that were taken from a checkpoint, and of those that were not."""

    kind: str
    kept: list[str]
    dropped: list[str]
    averaged: str = ""  # section of the averaged weights, if these were taken
    beside: dict[str, str] = field(default_factory=dict)  # other weights in the file, section by section

    def __str__(self) -> str:
        what = f"{self.kind} checkpoint{f', averaged weights {self.averaged}' if self.averaged else ''}"
        dropped = [listed(self.dropped)] if self.dropped else []
        dropped += [f"{name} ({content})" for name, content in self.beside.items()]
        return f"{what}, {len(self.kept)} entries loaded" + (f", left out: {', '.join(dropped)}" if dropped else "")


def listed(names: list[str], maximum: int = 4) -> str:
    """The first names, and the number of the others."""
    more = f" and {len(names) - maximum} more" if len(names) > maximum else ""
    return ", ".join(names[:maximum]) + more


def match_state_dict(net: nn.Module, state: State) -> Match:
    """Compare `state`, under library names, with a backbone or an `Encoder`; the head of an encoder is under `fc.`."""
    own = net.state_dict()
    names = {_library_name(name) if isinstance(net, Encoder) else name: name for name in own}
    take, left, wrong = {}, [], []
    for name, value in state.items():
        if name not in names and name.startswith(HEADS):
            left.append(name)
        elif name not in names:
            wrong.append(f"{name} unknown")
        elif value.shape != own[names[name]].shape:
            wrong.append(f"{name} {tuple(value.shape)} for {tuple(own[names[name]].shape)}")
        elif own[names[name]].is_floating_point() and not value.is_floating_point():
            wrong.append(f"{name} {value.dtype} for {own[names[name]].dtype}")
        else:
            take[names[name]] = value
    missing = (name for name in names.keys() - state.keys() if not name.endswith("num_batches_tracked"))
    return Match(take, left, sorted(wrong) + sorted(f"{name} missing" for name in missing))


def _library_name(name: str) -> str:
    """Name of an encoder's entry in `Weights`."""
    return name.removeprefix("backbone.") if name.startswith("backbone.") else "fc." + name.removeprefix("head.")


def load_backbone(net: nn.Module, path: Path, *, kind: str = "auto", which: str = "auto", ema: bool = False) -> Loaded:
    """Fill a backbone from a checkpoint and leave out its head; `ema`: with the file's averaged weights. UserError that
    lists the entries that do not fit."""
    return _load(net, path, kind, which, ema)


def load_encoder(net: Encoder, path: Path, *, kind: str = "auto", which: str = "auto", ema: bool = False) -> Loaded:
    """Fill backbone and head from a checkpoint; `ema`: with the file's averaged weights. UserError that lists the
    entries that do not fit."""
    return _load(net, path, kind, which, ema)


def _load(net: nn.Module, path: Path, kind: str, which: str, ema: bool) -> Loaded:
    weights = read(path, kind, ema=ema)
    take, left, wrong = match_state_dict(net, weights.network(which))
    if wrong:
        raise unfit(path, weights, wrong)
    net.load_state_dict(take, strict=False)  # only BatchNorm counters may be missing
    return Loaded(weights.kind, list(take), left + list(weights.others), weights.averaged, weights.beside)


def unfit(path: Path, weights: Weights, wrong: list[str]) -> UserError:
    """The error for entries that do not fit: `wrong` of `Match`."""
    arch = f" of {weights.arch}" if weights.arch else ""
    return UserError(
        f"{path} ({weights.kind} checkpoint{arch}) does not fit the network, {len(wrong)} entries differ "
        f"({listed(wrong)}): name the --arch, and the --head, that it was trained with"
    )
