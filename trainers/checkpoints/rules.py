"""Rules that changed between versions: a checkpoint keeps the number of each. A resumed run keeps some of them, and
notes which others the steps before it followed."""

from pathlib import Path
from typing import Any, NamedTuple

from torch import nn

from ...pipeline.cut import VERSION as CROP
from ...pipeline.plan.versions import VERSION as ORDER
from ...shards.errors import UserError
from ..nets.dropout import KeyedDropout
from ..nets.grouped_norm import GroupedBatchNorm
from .restore import read
from .same import note


class Rule(NamedTuple):
    """A rule of which runs of other versions follow another form."""

    number: int
    change: str  # what holds from here on, for the note; empty: a resumed run keeps the form that it began with
    module: type[nn.Module] | None = None  # a network with one follows the rule; None: every run does


_RULES = {
    "statistics": Rule(2, "running statistics of BatchNorm move once per pass, by the first group", GroupedBatchNorm),
    "dropout": Rule(2, "masks of dropout are functions of the step, for any number of processes", KeyedDropout),
    "order": Rule(ORDER, ""),
    "crop": Rule(CROP, "crops on the host are made of whole numbers, up to 1 level of 255 from those before"),
}
VERSIONS = {name: rule.number for name, rule in _RULES.items()}


def followed(path: Path | None) -> dict[str, int]:
    """The versions that a run follows which goes on from checkpoint `path`, or begins (None)."""
    return kept(path, read(path)) if path else VERSIONS


def kept(path: Path, saved: dict[str, Any]) -> dict[str, int]:
    """VERSIONS, with those that a run keeps from checkpoint `path`. UserError for one that a later version wrote."""
    was = saved.get("versions", {})
    for name, number in was.items():
        if number > VERSIONS.get(name, 0):
            raise UserError(
                f"{path} was written by a later version of this project ({name} {number}, here "
                f"{VERSIONS.get(name, 'unknown')}): resume it with that version, or start again with another --out"
            )
    return {name: rule.number if rule.change else was.get(name, 1) for name, rule in _RULES.items()}


def note_older_rules(path: Path, saved: dict[str, Any], net: nn.Module) -> None:
    """Note each rule of a run of `net` that the steps of checkpoint `path` did not follow yet."""
    was = saved.get("versions", {})
    used = {type(module) for module in net.modules()}
    for name, rule in _RULES.items():
        if rule.change and was.get(name, 1) != rule.number and (rule.module is None or rule.module in used):
            note(f"{path} is of an earlier version: from here on, {rule.change}")
