"""Read any checkpoint: recognize who wrote it and separate its networks (docs/checkpoints.md)."""

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ...shards.errors import UserError, choose
from .files import State, load_file
from .library_names import library_names
from .sections import bare, beside, opened, sections

# Writers of two networks -> prefix of the trained network, prefix of its slow copy. ssl-small and KCL write MoCo files.
PAIRS = {
    "viewstream": ("online.", "target."),
    "moco": ("encoder_q.", "encoder_k."),
    "mocov3": ("base_encoder.", "momentum_encoder."),
    "solo": ("backbone.", "momentum_backbone."),
    "dino": ("student.", "teacher."),
    "seed": ("student.", ""),  # the teacher in it is a copy of another file
    "ensemble": ("student_encoder.", "teacher_encoder."),  # STS and Momentum^2 Teacher
}
MARKS = {"solo": "momentum_backbone.", "dino": "student.backbone."}  # by which one is known, if the prefix is of others
KINDS = (*PAIRS, "swav", "simclr", "supervised", "plain")
ASIDE = re.compile(r"prototypes\.|queue|n_averaged|((\w+_)?(projector|predictor)|(dino|ibot)_head)\.")  # no backbone


@dataclass(frozen=True)
class Weights:
    """Content of a checkpoint; networks have library names, heads are under `fc.`."""

    kind: str  # one of KINDS
    arch: str  # "" if the file does not name it
    epoch: int
    recipe: dict[str, Any]  # empty unless this project wrote the file
    online: State
    target: State  # the slow copy; may be empty
    others: State  # queues, prototypes, a predictor, ...
    slow: bool  # evaluations take the slow copy
    classes: dict[str, Any]  # names, and counts of the training images, of the classes; empty as the recipe
    averaged: str  # section of the averaged weights, if these were taken
    beside: dict[str, str]  # sections that were not taken: what is in them
    step: int = 0  # optimizer steps, of a file that this project wrote

    def choice(self, which: str) -> str:
        """The network that `which` means: `online` or `target`."""
        auto = "target" if self.slow else "online"
        return auto if which == "auto" else which

    def network(self, which: str = "auto") -> State:
        """The network `online` or `target`; `auto`: the one that evaluations take. UserError if it is not there."""
        state = self.target if self.choice(which) == "target" else self.online
        if not state:
            raise UserError(f"the {self.kind} checkpoint holds no slow copy of its network: take the online one")
        return state

    def head(self, which: str = "auto") -> State:
        """Entries of the head of that network, without `fc.`."""
        state = self.network(which)
        return {name.removeprefix("fc."): value for name, value in state.items() if name.startswith("fc.")}


def read(path: Path, kind: str = "auto", *, ema: bool = False) -> Weights:
    """Content of a checkpoint file, on the CPU; `ema`: with the averaged weights that the file holds beside the others.
    UserError if it holds no weights, or none of `kind`."""
    file = load_file(path)
    try:
        return unpacked(file, kind, ema=ema)
    except UserError as error:
        raise UserError(f"{path}: {error}") from error


def unpacked(file: Any, kind: str = "auto", *, ema: bool = False) -> Weights:
    """The weights in a loaded file; `kind`: one of KINDS, or `auto` to recognize it by its entries."""
    found = sections(file)
    chosen = found.averaged if ema else found.main
    if not chosen:
        raise UserError("the file holds no averaged weights: leave out --ema")
    named = {bare(name): value for name, value in found.states[chosen].items()}
    if len(named) < len(found.states[chosen]):
        raise UserError("several entries have one name without what wrappers add to it: name another")
    state, others = opened(named)
    if choose("format", kind, ("auto", *KINDS)) == "auto":
        kind = _kind(state, list(found.states[chosen]))
    trained, slow_copy = PAIRS.get(kind, ("", ""))
    online, target = {}, {}
    for name, value in state.items():
        if name.startswith(trained) and not ASIDE.match(name.removeprefix(trained)):
            online[name.removeprefix(trained)] = value
        elif slow_copy and name.startswith(slow_copy) and not ASIDE.match(name.removeprefix(slow_copy)):
            target[name.removeprefix(slow_copy)] = value
        else:
            others[name] = value
    if not online:
        raise UserError(
            f"no entry begins with {trained}, it is no {kind} checkpoint: leave the format to be recognized"
        )
    (online, loose), (target, more) = opened(online), opened(target)
    others |= {trained + name: value for name, value in loose.items()}
    others |= {slow_copy + name: value for name, value in more.items()}
    about = file if chosen in file else {}
    recipe, classes = (_table(about, name) if kind == "viewstream" else {} for name in ("recipe", "classes"))
    arch, epoch = recipe.get("arch") or about.get("arch") or "", about.get("epoch")
    arch, epoch = arch if isinstance(arch, str) else "", epoch if isinstance(epoch, int) else 0
    slow = kind in ("ensemble", "dino") or recipe.get("method") in ("byol", "sts", "m2t", "dino")
    return Weights(
        kind,
        arch,
        epoch,
        recipe,
        library_names(online),
        library_names(target),
        others,
        slow,
        classes,
        chosen if chosen == found.averaged else "",
        beside(found, chosen),
        step if kind == "viewstream" and isinstance(step := about.get("step"), int) else 0,
    )


def _table(about: dict[Any, Any], name: str) -> dict[str, Any]:
    """The part `name` of a file; UserError if it is no table."""
    if not isinstance(part := about.get(name, {}), dict):
        raise UserError(f"its {name} is no table: name another")
    return part


def _kind(state: State, names: list[str]) -> str:
    """The writer of a checkpoint, from its entries; `names`: those in the file, wrappers included."""
    for kind, (trained, _) in PAIRS.items():
        mark = MARKS.get(kind, trained)
        if any(name.startswith(mark) for name in state):
            return kind
    if any(name.startswith(("projection_head.", "prototypes.")) for name in state):
        return "swav"
    if all(name.startswith("module.module.module.") for name in names):
        return "simclr"
    return "supervised" if any(name.startswith("module.") for name in names) else "plain"
