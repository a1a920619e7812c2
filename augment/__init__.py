"""What a view is, its recipes, its draws, and the programs that render it.

Everything here but `KeyedGenerator` and `Kornia` uses numpy alone; these two import torch when they are first used.
"""

from typing import TYPE_CHECKING

from ..shards.faces import hand_on
from .checks import check
from .draw import draw
from .recipes import (
    VIEWS,
    byol,
    dino,
    dino_large,
    dino_resnet,
    evaluation,
    inat,
    inat_evaluation,
    inat_slaug,
    ltaug,
    moco_v1,
    moco_v2,
    seed,
    seed_moco_v1,
    seed_moco_v2,
    seed_patches,
    slaug,
    ssl_small,
    ssl_small_cj1,
    ssl_small_mask,
    supervised,
    swav,
    transfer,
    transfer_cifar,
    transfer_evaluation,
    transfer_finetune,
    views_of,
)
from .spec import (
    ColorJitter,
    GaussianBlur,
    Grayscale,
    HideAndSeek,
    HorizontalFlip,
    Normalize,
    Op,
    RandomResizedCrop,
    ResizeCenterCrop,
    Solarize,
    UserOp,
    View,
    Views,
    size_of,
)

if TYPE_CHECKING:
    from .renderers.kornia_op import Kornia
    from .renderers.user_ops import KeyedGenerator

__all__ = [
    "VIEWS",
    "ColorJitter",
    "GaussianBlur",
    "Grayscale",
    "HideAndSeek",
    "HorizontalFlip",
    "KeyedGenerator",
    "Kornia",
    "Normalize",
    "Op",
    "RandomResizedCrop",
    "ResizeCenterCrop",
    "Solarize",
    "UserOp",
    "View",
    "Views",
    "byol",
    "check",
    "dino",
    "dino_large",
    "dino_resnet",
    "draw",
    "evaluation",
    "inat",
    "inat_evaluation",
    "inat_slaug",
    "ltaug",
    "moco_v1",
    "moco_v2",
    "seed",
    "seed_moco_v1",
    "seed_moco_v2",
    "seed_patches",
    "size_of",
    "slaug",
    "ssl_small",
    "ssl_small_cj1",
    "ssl_small_mask",
    "supervised",
    "swav",
    "transfer",
    "transfer_cifar",
    "transfer_evaluation",
    "transfer_finetune",
    "views_of",
]
__getattr__ = hand_on(__name__, {"KeyedGenerator": ".renderers.user_ops", "Kornia": ".renderers.kornia_op"})
