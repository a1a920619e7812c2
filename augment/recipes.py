"""What each published system shows its network: a function a recipe, from the side of its (large) views to the views.

Sources: spec tables of BalFeat and SEED (17) and of ssl-small and Spatial Ensemble (A.2, A.11, B.8).
"""

from collections.abc import Callable

from ..shards.errors import choose
from .spec import (
    INAT_MEAN,
    INAT_STD,
    SWAV_STD,
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
    Views,
    check,
)

PATCHES = 6  # small views of SEED, SwAV and DINO
SMALL = 96 / 224  # their side, of the large one's
MOCO = (
    ColorJitter(0.4, 0.4, 0.4, 0.1, p=0.8),
    Grayscale(),
    GaussianBlur(),
    HorizontalFlip(),
    Normalize(),
)  # behind MoCo v2's crop, and SEED's


def moco_v1(size: int = 224) -> Views:
    """Two draws of MoCo v1's pipeline (arXiv:1911.05722; grays first, always jitters); KCL's default, SEED's SimCLR."""
    return _twice(RandomResizedCrop(size), Grayscale(), ColorJitter(0.4, 0.4, 0.4, 0.4), HorizontalFlip(), Normalize())


def moco_v2(size: int = 224) -> Views:
    """Two draws of MoCo v2's pipeline (arXiv:2003.04297)."""
    return _twice(RandomResizedCrop(size), *MOCO)


def ssl_small(size: int = 224, cj: float = 1.5, grey: float = 0.5, blur: float = 0.5, *, mask: bool = False) -> Views:
    """Two draws of ssl-small's stronger pipeline: `cj` scales the jitter, `mask` adds hide and seek."""
    jitter = ColorJitter(0.8 * cj, 0.8 * cj, 0.8 * cj, min(0.5, 0.4 * cj), p=0.8)
    last = (HideAndSeek(),) if mask else ()
    return _twice(
        RandomResizedCrop(size), jitter, Grayscale(grey), GaussianBlur(p=blur), HorizontalFlip(), Normalize(), *last
    )


def ssl_small_cj1(size: int = 224) -> Views:
    """ssl-small's published setting of it (`--cj 1.`)."""
    return ssl_small(size, cj=1.0)


def ssl_small_mask(size: int = 224) -> Views:
    """ssl-small with hide and seek (`--aug-has`)."""
    return ssl_small(size, mask=True)


def byol(size: int = 224) -> Views:
    """The asymmetric pair of BYOL, Momentum^2 Teacher and Spatial Ensemble: one always blurred, one solarized."""
    first = (RandomResizedCrop(size, (0.08, 1.0)), ColorJitter(0.4, 0.4, 0.2, 0.1, p=0.8))
    one = (*first, GaussianBlur(p=1.0), Grayscale(), HorizontalFlip(), Normalize())
    return check((one, (*first, GaussianBlur(p=0.1), Grayscale(), HorizontalFlip(), Solarize(), Normalize())))


def seed(size: int = 224) -> Views:
    """One view for student and teacher alike (SEED's SWAV)."""
    return check(((RandomResizedCrop(size, (0.14, 1.0)), *MOCO),))


def seed_moco_v1(size: int = 224) -> Views:
    """One of MoCo v1's views: SEED behind teachers from MoCo v1 and SimCLR."""
    return check(moco_v1(size)[:1])


def seed_moco_v2(size: int = 224) -> Views:
    """One of MoCo v2's views: SEED behind teachers from MoCo v2."""
    return check(moco_v2(size)[:1])


def seed_patches(size: int = 224) -> Views:
    """SEED's view and six small patches of it."""
    return check((*seed(size), *[(RandomResizedCrop(round(size * SMALL), (0.05, 0.14)), *MOCO)] * PATCHES))


def swav(size: int = 224) -> Views:
    """SwAV's 2 + 6 crops (arXiv:2006.09882); its jitter is twice MoCo's, its first standard deviation 0.228."""
    colours = (
        HorizontalFlip(),
        ColorJitter(0.8, 0.8, 0.8, 0.2, p=0.8),
        Grayscale(),
        GaussianBlur(),
        Normalize(std=SWAV_STD),
    )
    large, small = RandomResizedCrop(size, (0.14, 1.0)), RandomResizedCrop(round(size * SMALL), (0.05, 0.14))
    return check((*[(large, *colours)] * 2, *[(small, *colours)] * PATCHES))


def dino(size: int = 224) -> Views:
    """DINO's two large crops, of which one is solarized, and six small ones (arXiv:2104.14294); bicubic."""
    jitter = (HorizontalFlip(), ColorJitter(0.4, 0.4, 0.2, 0.1, p=0.8), Grayscale())
    large, small = (
        RandomResizedCrop(size, (0.4, 1.0), filter="bicubic"),
        RandomResizedCrop(round(size * SMALL), (0.05, 0.4), filter="bicubic"),
    )
    one = (large, *jitter, GaussianBlur(p=1.0), Normalize())
    two = (large, *jitter, GaussianBlur(p=0.1), Solarize(), Normalize())
    return check((one, two, *[(small, *jitter, GaussianBlur(), Normalize())] * PATCHES))


def supervised(size: int = 224) -> Views:
    """Supervised training and linear probes; KCL's `--slaug`."""
    return check(((RandomResizedCrop(size, (0.08, 1.0)), HorizontalFlip(), Normalize()),))


def slaug(size: int = 224) -> Views:
    """KCL's `--slaug`: two draws of the supervised pipeline."""
    return _twice(*supervised(size)[0])


def ltaug(size: int = 224) -> Views:
    """KCL's `--ltaug`: two draws, always jittered, without hue."""
    return _twice(RandomResizedCrop(size, (0.08, 1.0)), HorizontalFlip(), ColorJitter(0.4, 0.4, 0.4, 0.0), Normalize())


def inat(size: int = 224) -> Views:
    """Supervised training with iNaturalist's statistics."""
    return check(((RandomResizedCrop(size, (0.08, 1.0)), HorizontalFlip(), Normalize(INAT_MEAN, INAT_STD)),))


def evaluation(size: int = 224) -> Views:
    """One view: short side 256 for a center of 224, in proportion for other sizes."""
    return check(((ResizeCenterCrop(size, round(size * 256 / 224)), Normalize()),))


def inat_evaluation(size: int = 224) -> Views:
    """The same with iNaturalist's statistics."""
    return check(((*evaluation(size)[0][:-1], Normalize(INAT_MEAN, INAT_STD)),))


def transfer(size: int = 224) -> Views:
    """Training on a frozen network's features of other data sets; bicubic."""
    return check(((RandomResizedCrop(size, (0.6, 1.0), filter="bicubic"), HorizontalFlip(), Normalize()),))


def transfer_finetune(size: int = 224) -> Views:
    """Fine-tuning on other data sets; bicubic."""
    return check(((RandomResizedCrop(size, (0.2, 1.0), filter="bicubic"), HorizontalFlip(), Normalize()),))


def transfer_evaluation(size: int = 224) -> Views:
    """Caltech-101's test view; bicubic."""
    return check(((ResizeCenterCrop(size, round(size * 256 / 224), "bicubic"), Normalize()),))


def transfer_cifar(size: int = 224) -> Views:
    """CIFAR's test view: the whole square image enlarged; bicubic."""
    return check(((ResizeCenterCrop(size, size, "bicubic"), Normalize()),))


def _twice(*view: Op) -> Views:
    return check((view, view))


VIEWS: dict[str, Callable[[int], Views]] = {
    f.__name__: f
    for f in (
        *(moco_v1, moco_v2, ssl_small, ssl_small_cj1, ssl_small_mask, byol),
        *(seed, seed_moco_v1, seed_moco_v2, seed_patches, swav, dino),
        *(supervised, slaug, ltaug, inat, evaluation, inat_evaluation),
        *(transfer, transfer_finetune, transfer_evaluation, transfer_cifar),
    )
}


def views_of(name: str, size: int = 224) -> Views:
    """The views of recipe `name`; UserError with the nearest names for one that does not exist."""
    return VIEWS[choose("augmentation recipe", name, VIEWS)](size)
