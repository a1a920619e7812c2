"""Rules of training that changed between versions: a checkpoint keeps the number of each, and a resumed run notes which
ones the steps before it followed."""

from pathlib import Path
from typing import Any

from torch import nn

from ..nets.dropout import KeyedDropout
from ..nets.grouped_norm import GroupedBatchNorm
from .same import note

# Name -> number, modules that follow the rule, and the rule.
_RULES: dict[str, tuple[int, type[nn.Module], str]] = {
    "statistics": (2, GroupedBatchNorm, "running statistics of BatchNorm move once per pass, by the first group"),
    "dropout": (2, KeyedDropout, "masks of dropout are functions of the step, for any number of processes"),
}
VERSIONS = {name: number for name, (number, _, _) in _RULES.items()}


def note_older_rules(path: Path, saved: dict[str, Any], net: nn.Module) -> None:
    """Note each rule of `net` that the steps of checkpoint `path` did not follow yet."""
    was = saved.get("versions", {})
    used = {type(module) for module in net.modules()}
    for name, (number, kind, rule) in _RULES.items():
        if was.get(name, 1) != number and kind in used:
            note(f"{path} is of an earlier version: from here on, {rule}")
