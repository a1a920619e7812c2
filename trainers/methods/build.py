"""The methods by name, and what every caller uses: build a recipe's method, check that a recipe fits."""

from ...augment.spec import Views, size_of
from ...shards.errors import UserError, choose
from ...shards.manifest import Manifest
from ..nets.dropout import keyed
from ..nets.encoder import check_sizes, seeded
from ..recipes.options import Recipe
from .byol import BYOL
from .dino import DINO
from .kcl import KCL
from .m2t import M2T
from .method import Method
from .moco import MoCo
from .seed import SEED
from .simclr import SimCLR
from .sts import STS
from .supervised import Supervised
from .swav import SwAV

METHODS: dict[str, type[Method]] = {
    "moco": MoCo,
    "kcl": KCL,
    "byol": BYOL,
    "sts": STS,
    "m2t": M2T,
    "simclr": SimCLR,
    "swav": SwAV,
    "dino": DINO,
    "seed": SEED,
    "supervised": Supervised,
}


def build(recipe: Recipe, classes: int = 0) -> Method:
    """The recipe's method for a data set of `classes` classes; its weights are a function of the recipe's seed."""
    seeded(recipe.seed)
    method = _class_of(recipe).build(recipe, classes)
    keyed(method)
    return method


def check(recipe: Recipe, views: Views, data: Manifest) -> None:
    """UserError, before anything is built, for a recipe that does not fit its views, its data or the ranks."""
    _class_of(recipe).check(recipe, views, data)
    if recipe.batch_size % recipe.accumulate:
        raise UserError(f"--accumulate {recipe.accumulate} does not divide a batch of {recipe.batch_size}")
    check_sizes(recipe.arch, [size_of(view) for view in views])


def _class_of(recipe: Recipe) -> type[Method]:
    """The class that the recipe itself names, or else the one of its method's name."""
    return recipe.method_class or METHODS[choose("method", recipe.method, METHODS)]
