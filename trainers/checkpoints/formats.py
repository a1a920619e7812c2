"""Checkpoints of the releases, of libraries and of this project, into networks (docs/checkpoints.md).

`load_backbone` and `load_encoder` say what they left out; what a network lacks is an error, never silence.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from torch import nn

from ...shards.errors import UserError
from ..methods.kcl import KCL
from ..methods.moco import MoCo
from ..methods.parts import ema_
from ..nets.encoder import Encoder
from .layouts import State, Weights, read

HEADS = ("fc.", "classifier.", "head.", "heads.", "head_dist.")  # where networks keep classifiers and projection heads


class Match(NamedTuple):
    """How entries and a network go together."""

    take: State  # under the network's own names
    left: list[str]  # entries of a head that the network has no place for
    wrong: list[str]  # what prevents loading, in words


@dataclass(frozen=True)
class Loaded:
    """What was taken from a checkpoint, and what was not."""

    kind: str
    kept: list[str]
    dropped: list[str]

    def __str__(self) -> str:
        out = f", left out: {listed(self.dropped)}" if self.dropped else ""
        return f"{self.kind} checkpoint, {len(self.kept)} entries loaded{out}"


def listed(names: list[str], most: int = 4) -> str:
    """The first names, and how many more there are."""
    more = f" and {len(names) - most} more" if len(names) > most else ""
    return ", ".join(names[:most]) + more


def match_state_dict(net: nn.Module, state: State) -> Match:
    """Entries of `state` for a backbone, or for an encoder, whose head's are under `fc.`."""
    own = net.state_dict()
    inside = isinstance(net, Encoder)
    names = {_canonical(name) if inside else name: name for name in own}
    take, left, wrong = {}, [], []
    for name, value in state.items():
        if name not in names:
            (left if name.startswith(HEADS) else wrong).append(name if name.startswith(HEADS) else f"{name} unknown")
        elif value.shape != own[names[name]].shape:
            wrong.append(f"{name} {tuple(value.shape)} for {tuple(own[names[name]].shape)}")
        else:
            take[names[name]] = value
    lacking = (name for name in names.keys() - state.keys() if not name.endswith("num_batches_tracked"))
    return Match(take, left, sorted(wrong) + sorted(f"{name} missing" for name in lacking))


def _canonical(name: str) -> str:
    """The name in a checkpoint of an encoder's entry."""
    return name.removeprefix("backbone.") if name.startswith("backbone.") else "fc." + name.removeprefix("head.")


def load_backbone(net: nn.Module, path: Path, *, kind: str = "auto", which: str = "auto") -> Loaded:
    """Fill a backbone from a checkpoint; its head stays behind. UserError that lists what does not fit."""
    return _load(net, path, kind, which)


def load_encoder(net: Encoder, path: Path, *, kind: str = "auto", which: str = "auto") -> Loaded:
    """Fill backbone and head from a checkpoint. UserError that lists what does not fit."""
    return _load(net, path, kind, which)


def _load(net: nn.Module, path: Path, kind: str, which: str) -> Loaded:
    weights = read(path, kind)
    take, left, wrong = match_state_dict(net, weights.network(which))
    if wrong:
        raise unfit(path, weights, wrong)
    net.load_state_dict(take, strict=False)  # what it may lack is counters of BatchNorm
    return Loaded(weights.kind, list(take), left + list(weights.others))


def unfit(path: Path, weights: Weights, wrong: list[str]) -> UserError:
    """The complaint about entries that do not fit."""
    arch = f" of {weights.arch}" if weights.arch else ""
    return UserError(
        f"{path} ({weights.kind} checkpoint{arch}) does not fit the network, {len(wrong)} entries differ "
        f"({listed(wrong)}): name the --arch, and the --head, that it was trained with"
    )


def restart(method: MoCo, path: Path) -> Loaded:
    """Begin MoCo from a SEED student or another MoCo run, as ssl-small's --restart (spec: small A.6).

    All that has an equal shape is taken, the queue included, be it a teacher's; then the key encoder gets the online
    weights. Unlike the release, a queue of another shape takes its pointer with it, and a body that lacks anything is
    an error.
    """
    weights = read(path)
    kept, dropped, others = [], [], dict(weights.others)
    for net, state in ((method.online, weights.online), (method.target, weights.target)):
        take, left, wrong = match_state_dict(net, state) if state else Match({}, [], [])
        if body := [w for w in wrong if not w.startswith("fc.")]:
            raise unfit(path, weights, body)
        net.load_state_dict(take, strict=False)
        kept, dropped = kept + list(take), dropped + left + wrong
    ema_(method.target, method.online, 0.0)
    rows = others["queue"].T if "queue" in others else others.get("queue.rows")  # [K, D]
    if rows is not None and rows.shape == method.queue.rows.shape:
        method.queue.rows.copy_(rows)
        method.queue.head.copy_(others["queue_ptr" if "queue" in others else "queue.head"].reshape(()))
        taken = [name for name in others if name.startswith("queue")]
        if isinstance(method, KCL):
            taken += _labels(method, others)
        kept, others = kept + taken, {name: value for name, value in others.items() if name not in taken}
    return Loaded(weights.kind, kept, dropped + list(others))


def _labels(method: KCL, others: State) -> list[str]:
    """Labels of the keys just taken, where the checkpoint has them; else none of these keys is a positive."""
    method.label_queue.head.copy_(method.queue.head)
    name = "label_queue" if "label_queue" in others else "label_queue.rows"
    if name not in others:
        return []
    method.label_queue.rows.copy_(others[name])
    return [name for name in others if name.startswith("label_queue")]
