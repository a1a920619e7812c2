"""Read any checkpoint: recognize who wrote it and separate its networks (docs/checkpoints.md)."""

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import Tensor

from ...shards.errors import UserError, choose
from .files import State, load_file
from .library_names import library_names

# Writers of two networks -> prefix of the trained network, prefix of its slow copy. ssl-small and KCL write MoCo files.
PAIRS = {
    "viewstream": ("online.", "target."),
    "moco": ("encoder_q.", "encoder_k."),
    "seed": ("student.", ""),  # the teacher in it is a copy of another file
    "ensemble": ("student_encoder.", "teacher_encoder."),  # STS and Momentum^2 Teacher
}
KINDS = (*PAIRS, "swav", "simclr", "supervised", "plain")


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


def read(path: Path, kind: str = "auto") -> Weights:
    """Content of a checkpoint file, on the CPU. UserError if it holds no weights, or none of `kind`."""
    file = load_file(path)
    try:
        return unpacked(file, kind)
    except UserError as error:
        raise UserError(f"{path}: {error}") from error


def unpacked(file: Any, kind: str = "auto") -> Weights:
    """The weights in a loaded file; `kind`: one of KINDS, or `auto` to recognize it by its entries."""
    state, wrapped = _tensors(file)
    bare = {name: _unwrapped(name) for name in state}
    if choose("format", kind, ("auto", *KINDS)) == "auto":
        kind = _kind(bare)
    trained, slow_copy = PAIRS.get(kind, ("", ""))
    online, target, others = {}, {}, {}
    for name, short in bare.items():
        if short.startswith(trained) and not short.startswith(("prototypes.", "queue")):
            online[_unwrapped(short.removeprefix(trained))] = state[name]
        elif slow_copy and short.startswith(slow_copy):
            target[short.removeprefix(slow_copy)] = state[name]
        else:
            others[short] = state[name]
    if not online:
        raise UserError(
            f"no entry begins with {trained}, it is no {kind} checkpoint: leave the format to be recognized"
        )
    about = file if wrapped else {}
    recipe, classes = (about.get(name, {}) if kind == "viewstream" else {} for name in ("recipe", "classes"))
    arch, epoch = str(recipe.get("arch") or about.get("arch") or ""), int(about.get("epoch") or 0)
    slow = kind == "ensemble" or recipe.get("method") in ("byol", "sts", "m2t")
    return Weights(kind, arch, epoch, recipe, library_names(online), library_names(target), others, slow, classes)


def _tensors(file: Any) -> tuple[State, bool]:
    """The tensors of a file by name, and whether the file holds other things beside them."""
    state = file if isinstance(file, dict) else {}
    wrappers = ("method", "state_dict_best", "state_dict", "model")
    wrapper = next((name for name in wrappers if isinstance(state.get(name), dict)), None)
    if wrapper:
        state = state[wrapper]
    if "feat_model" in state:  # decoupling keeps its classifier apart
        state = state["feat_model"] | {f"classifier.{k}": v for k, v in state.get("classifier", {}).items()}
    state = {name: value for name, value in state.items() if isinstance(value, Tensor)}
    if not state:
        raise UserError("the file holds no weights: name a checkpoint")
    return state, wrapper is not None


def _unwrapped(name: str) -> str:
    return re.sub(r"^(module\.)+", "", name)  # DistributedDataParallel adds it, once per wrapper


def _kind(bare: dict[str, str]) -> str:
    """The writer of a checkpoint, from its entries: name in the file -> name without `module.`."""
    for kind, (trained, _) in PAIRS.items():
        if any(name.startswith(trained) for name in bare.values()):
            return kind
    if any(name.startswith(("projection_head.", "prototypes.")) for name in bare.values()):
        return "swav"
    if all(name.startswith("module.module.module.") for name in bare):
        return "simclr"
    return "supervised" if any(name.startswith("module.") for name in bare) else "plain"
