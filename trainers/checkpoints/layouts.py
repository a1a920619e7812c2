"""Who wrote a checkpoint, and its networks: bodies under library keys, heads under `fc.` (docs/checkpoints.md)."""

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from ...shards.errors import UserError, choose, needs

State = dict[str, Tensor]

# Writers of two networks -> how entries of the trained one and of its slow copy begin. ssl-small and KCL write MoCo's.
PAIRS = {
    "viewstream": ("online.", "target."),
    "moco": ("encoder_q.", "encoder_k."),
    "seed": ("student.", ""),  # its teacher is another file's copy
    "ensemble": ("student_encoder.", "teacher_encoder."),  # STS and Momentum^2 Teacher
}
KINDS = (*PAIRS, "swav", "simclr", "supervised", "plain")
# EfficientNet's own names -> timm's, with and without the expansion that all but the first blocks begin with.
STEM = {"_conv_stem": "conv_stem", "_bn0": "bn1", "_conv_head": "conv_head", "_bn1": "bn2"}
EXPANDED = {
    "_expand_conv": "conv_pw", "_bn0": "bn1", "_depthwise_conv": "conv_dw", "_bn1": "bn2", "_project_conv": "conv_pwl",
    "_bn2": "bn3", "_se_reduce": "se.conv_reduce", "_se_expand": "se.conv_expand",
}  # fmt: skip
SEPARABLE = EXPANDED | {"_bn1": "bn1", "_project_conv": "conv_pw", "_bn2": "bn2"}


@dataclass(frozen=True)
class Weights:
    """What a checkpoint holds."""

    kind: str  # of KINDS
    arch: str  # "" where the file does not say
    epoch: int
    recipe: dict[str, Any]  # of this project's checkpoints; else empty
    online: State
    target: State  # the slow copy; empty where there is none
    others: State  # queues, prototypes, a predictor, ...
    slow: bool  # evaluations take the slow copy

    def network(self, which: str = "auto") -> State:
        """`online`, `target`, or the one that evaluations take; UserError for one that is not there."""
        auto = "target" if self.slow else "online"
        state = self.target if (auto if which == "auto" else which) == "target" else self.online
        if not state:
            raise UserError(f"the {self.kind} checkpoint holds no slow copy of its network: take the online one")
        return state


def read(path: Path, kind: str = "auto") -> Weights:
    """A checkpoint, on the CPU; UserError for a file that holds no weights, or none of `kind`."""
    if not path.is_file():
        raise UserError(f"there is no checkpoint {path}: name another")
    try:
        safe = path.suffix == ".safetensors"
        file = needs("safetensors.torch").load_file(path) if safe else torch.load(path, "cpu", weights_only=True)
    except Exception as error:  # the readers' own errors have no common base
        first = (str(error).splitlines() or [type(error).__name__])[0]
        raise UserError(f"{path} is not a readable checkpoint ({first}): name another") from error
    try:
        return unpacked(file, kind)
    except UserError as error:
        raise UserError(f"{path}: {error}") from error


def unpacked(file: Any, kind: str = "auto") -> Weights:
    """The parts of a loaded file."""
    box, state = _opened(file)
    bare = {name: _bare(name) for name in state}
    if choose("format", kind, ("auto", *KINDS)) == "auto":
        kind = _kind(bare)
    first, second = PAIRS.get(kind, ("", ""))
    online, target, others = {}, {}, {}
    for name, short in bare.items():
        if short.startswith(first) and not short.startswith(("prototypes.", "queue")):
            online[_bare(short.removeprefix(first))] = state[name]
        elif second and short.startswith(second):
            target[short.removeprefix(second)] = state[name]
        else:
            others[short] = state[name]
    if not online:
        raise UserError(f"no entry begins with {first}, it is no {kind} checkpoint: leave the format to be recognized")
    said = file if box else {}
    recipe = said.get("recipe", {}) if kind == "viewstream" else {}
    arch, epoch = str(recipe.get("arch") or said.get("arch") or ""), int(said.get("epoch") or 0)
    slow = kind == "ensemble" or recipe.get("method") in ("byol", "sts", "m2t")
    return Weights(kind, arch, epoch, recipe, _named(online), _named(target), others, slow)


def _opened(file: Any) -> tuple[str, State]:
    """The dictionary of tensors in a file, and the name of the box it was in."""
    box, state = "", file if isinstance(file, dict) else {}
    for name in ("method", "state_dict_best", "state_dict", "model"):
        if isinstance(state.get(name), dict):
            box, state = name, state[name]
            break
    if "feat_model" in state:  # decoupling keeps its classifier apart
        state = state["feat_model"] | {f"classifier.{k}": v for k, v in state.get("classifier", {}).items()}
    state = {name: value for name, value in state.items() if isinstance(value, Tensor)}
    if not state:
        raise UserError("the file holds no weights: name a checkpoint")
    return box, state


def _bare(name: str) -> str:
    return re.sub(r"^(module\.)+", "", name)


def _kind(bare: dict[str, str]) -> str:
    for kind, (first, _) in PAIRS.items():
        if any(name.startswith(first) for name in bare.values()):
            return kind
    if any(name.startswith(("projection_head.", "prototypes.")) for name in bare.values()):
        return "swav"
    if all(name.startswith("module.module.module.") for name in bare):
        return "simclr"
    return "supervised" if any(name.startswith("module.") for name in bare) else "plain"


def _named(state: State) -> State:
    """Bodies under their library's names, heads under `fc.`."""
    if "_conv_stem.weight" in state:
        return _timm(state)
    ours = any(name.startswith("backbone.") for name in state)
    heads = r"^head\." if ours else r"^(projection_head|cls_fc)\."
    return {re.sub(heads, "fc.", name).removeprefix("backbone."): value for name, value in state.items()}


def _timm(state: State) -> State:
    """The originals number EfficientNet's blocks throughout, timm in stages, which begin where channels change."""
    places, stage, block, channels = [], -1, 0, 0
    while (project := state.get(f"_blocks.{len(places)}._project_conv.weight")) is not None:
        stage, block = (stage, block + 1) if len(project) == channels else (stage + 1, 0)
        channels = len(project)
        places.append(f"blocks.{stage}.{block}")
    named = {}
    for name, value in state.items():
        part, _, rest = name.partition(".")
        if part == "_blocks":
            number, layer, rest = rest.split(".", 2)
            layers = EXPANDED if f"_blocks.{number}._expand_conv.weight" in state else SEPARABLE
            named[f"{places[int(number)]}.{layers.get(layer, layer)}.{rest}"] = value
        else:
            named[f"{STEM.get(part, part)}.{rest}"] = value
    return named
