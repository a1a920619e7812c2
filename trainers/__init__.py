"""Methods, the training loop and evaluations.

Recipes need no torch; every other name imports it when it is first used.
"""

import os
import sys
from typing import TYPE_CHECKING

from ..shards.faces import hand_on
from .recipes import RECIPES, recipe_named
from .recipes.options import Recipe

if "torch" not in sys.modules:  # whose threads would spin while they wait, on cores that other programs or loaders need
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

if TYPE_CHECKING:
    from .checkpoints.loading import load_backbone
    from .methods.byol import BYOL
    from .methods.dino import DINO
    from .methods.kcl import KCL
    from .methods.m2t import M2T
    from .methods.method import Method, Now, Stats
    from .methods.moco import MoCo
    from .methods.seed import SEED
    from .methods.simclr import SimCLR
    from .methods.sts import STS
    from .methods.supervised import Supervised
    from .methods.swav import SwAV
    from .nets.encoder import Encoder, backbone
    from .training.options import Run
    from .training.run import pretrain

__all__ = [
    "BYOL",
    "DINO",
    "KCL",
    "M2T",
    "RECIPES",
    "SEED",
    "STS",
    "Encoder",
    "Method",
    "MoCo",
    "Now",
    "Recipe",
    "Run",
    "SimCLR",
    "Stats",
    "Supervised",
    "SwAV",
    "backbone",
    "load_backbone",
    "pretrain",
    "recipe_named",
]
__getattr__ = hand_on(
    __name__,
    {
        "BYOL": ".methods.byol",
        "DINO": ".methods.dino",
        "Encoder": ".nets.encoder",
        "KCL": ".methods.kcl",
        "M2T": ".methods.m2t",
        "Method": ".methods.method",
        "MoCo": ".methods.moco",
        "Now": ".methods.method",
        "Run": ".training.options",
        "SEED": ".methods.seed",
        "STS": ".methods.sts",
        "SimCLR": ".methods.simclr",
        "Stats": ".methods.method",
        "Supervised": ".methods.supervised",
        "SwAV": ".methods.swav",
        "backbone": ".nets.encoder",
        "load_backbone": ".checkpoints.loading",
        "pretrain": ".training.run",
    },
)
