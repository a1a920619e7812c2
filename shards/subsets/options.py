"""Options that choose images of a source, and the check of their combinations."""

import math
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

from ..errors import UserError
from ..lists import check_known
from .published import CLASSSETS, PUBLISHED
from .release import NAMES
from .tails import TAILS, WHOLE

NAMED = ("full", *PUBLISHED, *CLASSSETS, *TAILS, *WHOLE)


@dataclass(frozen=True)
class SubsetOptions:
    """Which images of the source"""

    subset: Annotated[
        str,
        "full; ImageNet's lt0, lt2, lt4, lt6, lt8, lt, 100kp, lt-val, lt-test by their published lists; half of the "
        "classes: clsset1, clsset1_comp, clsset2, clsset2_comp; drawn long tails: cifar10-lt, cifar100-lt (-sdclr: its "
        "counts), imagenet100-lt; all of a list: places-lt, inat18; or a list FILE of `path label`",
    ] = "full"
    classes: Annotated[str, "FILE of class names, or a clsset: keep only these classes and renumber them"] = ""
    fraction: Annotated[float, "take this share of each class; a larger share contains every smaller one"] = 1.0
    per_class: Annotated[int, "take this many images of each class; 0 = all", 0] = 0
    after: Annotated[int, "leave out those that --per-class N takes", 0] = 0
    draw_subset: Annotated[
        bool | Literal["release"],
        "draw the subset's per-class counts by key instead of using its list; release = repeat the published draw",
    ] = False
    imbalance: Annotated[
        float,
        "largest over smallest class of drawn tails; 0: 256 as in ImageNet-LT, 100 for those of CIFAR",
        0,
    ] = 0.0
    lists: Annotated[Path | None, "folder with the published lists ($VIEWSTREAM_LISTS, else fetched once)"] = None
    allow_missing: Annotated[bool, "accept that the source lacks files of the list, or images for --per-class"] = False


def check(choice: SubsetOptions) -> None:
    """UserError for invalid options or combinations, before anything is read."""
    name, draw = choice.subset, choice.draw_subset
    check_known("subset", name, NAMED)
    if choice.classes:
        check_known("class set", choice.classes, CLASSSETS)
    if draw == "release" and name not in NAMES:
        raise UserError(f"--draw-subset release repeats how {', '.join(NAMES)} were made, not {name}: name one of them")
    if draw and name not in NAMED:
        raise UserError(f"--draw-subset cannot draw the list {name}: leave one of them out")
    if draw and name == "full" and choice.classes not in CLASSSETS:
        raise UserError("--draw-subset draws a part of the source: name its shape, as in --subset lt6")
    if not 0 < choice.fraction <= 1:
        raise UserError(f"--fraction {choice.fraction} is not a share: take more than 0 and at most 1")
    if choice.per_class < 0:
        raise UserError(f"--per-class {choice.per_class} is negative: take 1 or more, or 0 for all")
    if choice.after < 0:
        raise UserError(f"--after {choice.after} is negative: give the --per-class of the other set")
    if choice.fraction < 1 and choice.after:
        raise UserError("--after takes the rest of --per-class, not of --fraction: leave one of them out")
    if choice.fraction < 1 and choice.per_class:
        raise UserError("--fraction and --per-class both set the images per class: give one of them")
    if choice.imbalance and name in (*WHOLE, "imagenet100-lt"):
        raise UserError(f"--imbalance says how a tail is drawn, {name} has its own counts: leave it out")
    if choice.imbalance and not (math.isfinite(choice.imbalance) and choice.imbalance >= 1):
        raise UserError(
            f"--imbalance {choice.imbalance} is not a ratio of the largest to the smallest class: take 1 or more, "
            "ImageNet-LT has 256"
        )
