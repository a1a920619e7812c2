"""What a teacher's checkpoint says about its network: SEED builds the backbone and the head that are in it."""

from dataclasses import replace
from pathlib import Path
from typing import Any

from ...shards.errors import UserError
from ..recipes.options import SEED, Recipe
from .layouts import Weights, read
from .same import note

WIDTHS = {"dino": "bottleneck"}  # the option of the size of the embeddings, where it is not `dim`
PROJECTORS = ("byol", "sts", "m2t", "swav")  # methods whose head is a `projector`


def with_teacher(recipe: Recipe, teacher: str, network: str = "auto", *, ema: bool = False) -> Recipe:
    """SEED's recipe with the architecture and the head of the checkpoint `teacher`, if that is of this project: it says
    them itself, whatever the options are. Any other recipe as it is.

    UserError for a checkpoint without the head that its embeddings need, or with another size of embeddings than --dim.
    """
    if not isinstance(recipe, SEED) or not teacher:
        return recipe
    weights = read(Path(teacher), ema=ema)
    if not weights.head(network) or weights.recipe.get("method") == "supervised":
        raise UserError(
            f"{teacher} ({weights.kind} checkpoint) holds no projection head, and SEED imitates embeddings: name a "
            f"checkpoint of self-supervised training, with its head"
        )
    if not weights.recipe:
        return recipe
    own = _described(weights, teacher)
    if (dim := weights.recipe[WIDTHS.get(weights.recipe["method"], "dim")]) != recipe.dim:
        raise UserError(f"{teacher} embeds in {dim} dimensions, the student in {recipe.dim}: take --dim {dim}")
    if changed := {name: value for name, value in own.items() if getattr(recipe, name) != value}:
        words = ", ".join(f"--{name.replace('_', '-')} {value}" for name, value in changed.items())
        note(f"{teacher} says what its network is: {words}")
    return replace(recipe, **own)


def _described(weights: Weights, teacher: str) -> dict[str, Any]:
    """SEED's options about the teacher, from the recipe in its checkpoint."""
    said = weights.recipe
    head = "projector" if said["method"] in PROJECTORS else "dino" if said["method"] == "dino" else said.get("head")
    if head is None or said.get("head_bn"):
        kind = said["method"] + (" with BatchNorm in its head" if said.get("head_bn") else "")
        raise UserError(f"{teacher} is of {kind}, whose embeddings SEED cannot take: name another teacher")
    return {
        "teacher_arch": said["arch"],
        "teacher_head": head,
        "teacher_hidden": said.get("hidden", 0) if head in ("projector", "dino") else 0,
        "teacher_cifar": said.get("stem") == "cifar",
    }
