"""The weights of a file, section by section: its main ones, averaged ones, and their names without wrappers."""

import re
from typing import Any, NamedTuple

from torch import Tensor

from ...shards.errors import UserError
from .files import State

MAIN = ("method", "state_dict_best", "state_dict", "model")  # where programs keep the weights, beside other things
AVERAGED = re.compile(r"(\w+_)?ema(_\w+)?", re.IGNORECASE)  # state_dict_ema, model_ema, ema_model, ...
# Added to names by torch's wrappers, once per wrapper: DistributedDataParallel, compile, FSDP, checkpointing.
WRAPPED = re.compile(r"\b(module|_orig_mod|_fsdp_wrapped_module|_checkpoint_wrapped_module)\.")
BOXES = ("model.", "net.", "network.", "encoder.")  # attributes in which Lightning modules and others keep a network
# Parts that may lie beside such a network.
PARTS = re.compile(r"\w*(head|fc|classif|project|predict|prototype|queue|criterion|loss|metric|acc|n_averaged)")
HEADS = ("fc.", "classifier.", "head.", "heads.", "head_dist.")  # prefixes of classifiers and projection heads


class Sections(NamedTuple):
    """Weights of a file by the name of their section; `main` and `averaged` are two of the names, or empty."""

    states: dict[str, State]
    main: str
    averaged: str


def sections(file: Any) -> Sections:
    """Separate the weights of a loaded file. UserError if it holds none."""
    parts = file if isinstance(file, dict) else {}
    inner = {name: part for name, part in parts.items() if isinstance(name, str) and isinstance(part, dict)}
    states = {name: state for name, part in inner.items() if (state := _tensors(part))}
    if {"student", "teacher"} <= states.keys():  # DINO keeps its pair apart
        states["student"] = {f"{role}.{k}": v for role in ("student", "teacher") for k, v in states[role].items()}
        del states["teacher"]
    main = next((name for name in MAIN if name in states), "")
    if not main and (own := _entries(parts)):  # the file itself is a network
        main, states = "weights", states | {"weights": own}
    apart = {name for name in states if AVERAGED.fullmatch(name)}
    main = main or next((name for name in states if name not in apart), "") or next(iter(states), "")
    if main not in states:
        raise UserError("the file holds no weights: name a checkpoint")
    for name in list(states[main]):  # averaged entries among the others
        first = WRAPPED.sub("", name).partition(".")[0]
        if AVERAGED.fullmatch(first) and first != main:
            apart.add(first)
            states.setdefault(first, {})[WRAPPED.sub("", name).partition(".")[2]] = states[main].pop(name)
    return Sections(states, main, next(iter(sorted(apart)), ""))


def _tensors(part: dict[Any, Any]) -> State:
    """The tensors of a section by name, also of one that holds the weights beside other things."""
    if "feat_model" in part:  # decoupling keeps its classifier apart
        pair = [part["feat_model"], part.get("classifier", {})]
        features, classifier = (_entries(half) if isinstance(half, dict) else {} for half in pair)
        return features | {f"classifier.{k}": v for k, v in classifier.items()}
    inner = next((part[name] for name in (*MAIN, "module") if isinstance(part.get(name), dict)), None)
    return _entries(part) or (_tensors(inner) if inner else {})


def _entries(part: dict[Any, Any]) -> State:
    return {name: value for name, value in part.items() if isinstance(name, str) and isinstance(value, Tensor)}


def bare(name: str) -> str:
    """An entry's name without what wrappers add to it."""
    return WRAPPED.sub("", name)


def opened(state: State) -> tuple[State, State]:
    """A network's entries without the attribute that all of them lie in, and those of other parts."""
    others: State = {}
    while box := next((box for box in BOXES if _is_box(state, box)), ""):
        others |= {k: v for k, v in state.items() if not k.startswith((box, *HEADS, "projection_head."))}
        state = {k.removeprefix(box): v for k, v in state.items() if k not in others}
    return state, others


def _is_box(state: State, box: str) -> bool:
    """Whether all entries lie in `box`, heads and other parts aside."""
    outside = [name for name in state if not name.startswith(box)]
    return len(outside) < len(state) and all(PARTS.match(name.partition(".")[0]) for name in outside)


def beside(found: Sections, chosen: str) -> dict[str, str]:
    """What is in each section other than the chosen one, and how it could be taken."""
    hint = "; --ema takes them"
    return {
        name: f"{len(state)} entries{hint if name == found.averaged else ''}"
        for name, state in found.states.items()
        if name != chosen
    }
