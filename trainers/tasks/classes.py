"""Whether a saved classifier and the set that it is measured with have the same classes, in the same groups."""

import logging
from collections.abc import Sequence

import torch

from ...shards.errors import UserError
from ...shards.manifest import Manifest
from ..evals.shots import Rule, group_of
from ..ranks import rank
from .model import EvaluatedModel

LOG = logging.getLogger(__name__)


def compare_classes(model: EvaluatedModel, data: Manifest, *, rule: Rule, other: bool) -> None:
    """Compare the classes of the training set `data` with those that the checkpoint was trained on.

    UserError for other names, unless `other` allows them. A note if classes would be in other groups by the images that
    the checkpoint was trained on, or if it names no classes, as those of other projects and of earlier versions.
    """
    names, counts = (model.weights.classes.get(part, []) for part in ("names", "counts"))
    if not names:
        _note(f"{model.path} does not name its classes: only their number is compared")
    elif difference := _difference(names, data.info.classes):
        if not other:
            raise UserError(
                f"{model.path} was trained on other classes than {data.root} has ({difference}): "
                f"name the --data and --val of its classes, or measure it on these with --other-classes"
            )
    else:
        now = torch.tensor(data.counts)
        moved = int((group_of(torch.tensor(counts), rule=rule) != group_of(now, rule=rule)).sum())
        if moved:
            model.facts["classes_in_other_groups"] = moved
            _note(
                f"{moved} of {len(names)} classes are in another group (many, medium, few) by the images of "
                f"{data.root} than by those that {model.path} was trained on; the groups follow --data"
            )


def _difference(names: Sequence[str], found: Sequence[str]) -> str:
    """How the classes of a checkpoint differ from those of a set, "" for equal ones."""
    if len(names) != len(found):
        return f"{len(names)}, not {len(found)}"
    other = [(n, *pair) for n, pair in enumerate(zip(names, found, strict=True)) if pair[0] != pair[1]]
    return f"{len(other)} of {len(names)}: class {other[0][0]} is {other[0][1]}, not {other[0][2]}" if other else ""


def _note(text: str) -> None:
    if not rank():
        LOG.warning(f"note: {text}")
