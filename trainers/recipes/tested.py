"""With which views the networks of a recipe are evaluated."""

from collections.abc import Mapping
from typing import Any

TESTED_WITH = {  # by the training views of a method without a classifier; else `evaluation`
    "inat_slaug": "inat_evaluation",
    **dict.fromkeys(("simclr", "simclr_sthalles", "sdclr"), "simclr_evaluation"),
    **dict.fromkeys(("simclr_cifar", "sdclr_cifar"), "simclr_cifar_evaluation"),
}


def evaluation_views(recipe: Mapping[str, Any]) -> str:
    """The augmentation recipe of evaluations by the fields of a training recipe: its own for a classifier, else the
    one that belongs to its training views."""
    return str(recipe.get("test_views") or TESTED_WITH.get(str(recipe.get("views")), "evaluation"))
