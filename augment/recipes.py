"""The views of each published system: one function per recipe, from the side of its (large) views in px to the views.

Sources: spec tables of BalFeat and SEED (17), of ssl-small and Spatial Ensemble (A.2, A.11, B.8), of methods beyond
(1.2, 2.2).
"""

from collections.abc import Callable

from ..shards.errors import choose
from .checks import check
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
    RandomResizedCrop,
    ResizeCenterCrop,
    Solarize,
    View,
    Views,
)

PATCHES = 6  # small views of SEED and SwAV
RAW = Normalize((0.0, 0.0, 0.0), (1.0, 1.0, 1.0))  # values stay in 0..1
SMALL = 96 / 224  # side of a small view, as a fraction of the large view's side
JITTER = ColorJitter(0.4, 0.4, 0.4, 0.1, p=0.8)
STRONG = (HorizontalFlip(), ColorJitter(0.8, 0.8, 0.8, 0.2, p=0.8), Grayscale())  # after the crop of SimCLR and SwAV
MOCO = (JITTER, Grayscale(), GaussianBlur(), HorizontalFlip(), Normalize())  # after the crop of MoCo v2 and SEED


def moco_v1(size: int = 224) -> Views:
    """MoCo v1: two views, gray before the jitter, always jittered (arXiv:1911.05722).

    Also the default of KCL, and what SEED uses for SimCLR.
    """
    color = (Grayscale(), ColorJitter(0.4, 0.4, 0.4, 0.4))
    return _twice((RandomResizedCrop(size), *color, HorizontalFlip(), Normalize()))


def moco_v2(size: int = 224) -> Views:
    """MoCo v2: two views (arXiv:2003.04297)."""
    return _twice((RandomResizedCrop(size), *MOCO))


def ssl_small(size: int = 224, cj: float = 1.5, gray: float = 0.5, blur: float = 0.5, *, mask: bool = False) -> Views:
    """ssl-small's stronger pipeline: two views; `cj` scales the jitter, `mask` adds HideAndSeek."""
    jitter = ColorJitter(0.8 * cj, 0.8 * cj, 0.8 * cj, min(0.5, 0.4 * cj), p=0.8)
    color = (jitter, Grayscale(gray), GaussianBlur(p=blur))
    last = (HideAndSeek(),) if mask else ()
    return _twice((RandomResizedCrop(size), *color, HorizontalFlip(), Normalize(), *last))


def ssl_small_cj1(size: int = 224) -> Views:
    """`ssl_small` as published (`--cj 1.`)."""
    return ssl_small(size, cj=1.0)


def ssl_small_mask(size: int = 224) -> Views:
    """`ssl_small` with HideAndSeek (`--aug-has`)."""
    return ssl_small(size, mask=True)


def byol(size: int = 224) -> Views:
    """BYOL, Momentum^2 Teacher, Spatial Ensemble: two views, the first always blurred, the second solarized."""
    begin = (RandomResizedCrop(size, (0.08, 1.0)), ColorJitter(0.4, 0.4, 0.2, 0.1, p=0.8))
    first = (*begin, GaussianBlur(p=1.0), Grayscale(), HorizontalFlip(), Normalize())
    return check((first, (*begin, GaussianBlur(p=0.1), Grayscale(), HorizontalFlip(), Solarize(), Normalize())))


def seed(size: int = 224) -> Views:
    """SEED's `SWAV`: one view, which student and teacher share."""
    return check(((RandomResizedCrop(size, (0.14, 1.0)), *MOCO),))


def seed_moco_v1(size: int = 224) -> Views:
    """One view of `moco_v1`: SEED with teachers from MoCo v1 and SimCLR."""
    return check(moco_v1(size)[:1])


def seed_moco_v2(size: int = 224) -> Views:
    """One view of `moco_v2`: SEED with teachers from MoCo v2."""
    return check(moco_v2(size)[:1])


def seed_patches(size: int = 224) -> Views:
    """SEED's view and six small views of the same image."""
    small = (RandomResizedCrop(round(size * SMALL), (0.05, 0.14)), *MOCO)
    return check((*seed(size), *[small] * PATCHES))


def simclr(size: int = 224) -> Views:
    """SimCLR on ImageNet: two views, bicubic, twice the jitter of MoCo v2, not normalized (arXiv:2002.05709).

    Its release draws one sigma of the blur for all images of a device; here each image has its own.
    """
    return _twice((RandomResizedCrop(size, (0.08, 1.0), filter="bicubic"), *STRONG, GaussianBlur(), RAW))


def simclr_cifar(size: int = 32) -> Views:
    """SimCLR on CIFAR-10: half the jitter of `simclr`, no blur."""
    return _twice((RandomResizedCrop(size, (0.08, 1.0), filter="bicubic"), HorizontalFlip(), JITTER, Grayscale(), RAW))


def simclr_sthalles(size: int = 32) -> Views:
    """sthalles/SimCLR: two views of `simclr`, bilinear, always blurred."""
    return _twice((RandomResizedCrop(size, (0.08, 1.0)), *STRONG, GaussianBlur(p=1.0), RAW))


def sdclr(size: int = 224) -> Views:
    """SDCLR on ImageNet-100: two views, not normalized."""
    color = (HorizontalFlip(), JITTER, Grayscale(), GaussianBlur(), RAW)
    return _twice((RandomResizedCrop(size, (0.08, 1.0)), *color))


def sdclr_cifar(size: int = 32) -> Views:
    """SDCLR on CIFAR: two views, bicubic, no blur, not normalized."""
    crop = RandomResizedCrop(size, (0.1, 1.0), filter="bicubic")
    return _twice((crop, HorizontalFlip(), JITTER, Grayscale(), RAW))


def swav(size: int = 224) -> Views:
    """SwAV: two large and six small views, twice the jitter of MoCo v2 (arXiv:2006.09882).

    Its release divides red by 0.228.
    """
    last = (*STRONG, GaussianBlur(), Normalize(std=SWAV_STD))
    large, small = RandomResizedCrop(size, (0.14, 1.0)), RandomResizedCrop(round(size * SMALL), (0.05, 0.14))
    return check((*[(large, *last)] * 2, *[(small, *last)] * PATCHES))


def swav_large(size: int = 224) -> Views:
    """SwAV without small views."""
    return _twice((RandomResizedCrop(size, (0.08, 1.0)), *STRONG, GaussianBlur(), Normalize(std=SWAV_STD)))


def dino(size: int = 224) -> Views:
    """DINO: two large views, the second solarized, and eight small ones (arXiv:2104.14294); bicubic."""
    return check((*_dino(size, 0.4), *[_dino_small(size, 0.4)] * 8))


def dino_resnet(size: int = 224) -> Views:
    """`dino` for ResNets: large views of 14 % of the image or more, small ones of 14 % or less."""
    return check((*_dino(size, 0.14), *[_dino_small(size, 0.14)] * 8))


def dino_large(size: int = 224) -> Views:
    """The two large views of `dino`, of 14 % of the image or more, as its program advises without small ones."""
    return check(_dino(size, 0.14))


DINO = (HorizontalFlip(), ColorJitter(0.4, 0.4, 0.2, 0.1, p=0.8), Grayscale())  # after the crop of each view


def _dino(size: int, least: float) -> Views:
    begin = (RandomResizedCrop(size, (least, 1.0), filter="bicubic"), *DINO)
    return (*begin, GaussianBlur(p=1.0), Normalize()), (*begin, GaussianBlur(p=0.1), Solarize(), Normalize())


def _dino_small(size: int, most: float) -> View:
    crop = RandomResizedCrop(round(size * SMALL), (0.05, most), filter="bicubic")
    return (crop, *DINO, GaussianBlur(), Normalize())


def supervised(size: int = 224) -> Views:
    """Supervised training and linear probes: one view; the pipeline of KCL's `--slaug`."""
    return check(((RandomResizedCrop(size, (0.08, 1.0)), HorizontalFlip(), Normalize()),))


def slaug(size: int = 224) -> Views:
    """KCL's `--slaug`: two views of the supervised pipeline."""
    return _twice(supervised(size)[0])


def ltaug(size: int = 224) -> Views:
    """KCL's `--ltaug`: two views, always jittered, without hue."""
    jitter = ColorJitter(0.4, 0.4, 0.4, 0.0)
    return _twice((RandomResizedCrop(size, (0.08, 1.0)), HorizontalFlip(), jitter, Normalize()))


def inat(size: int = 224) -> Views:
    """`supervised` with iNaturalist's mean and standard deviation."""
    return check(((RandomResizedCrop(size, (0.08, 1.0)), HorizontalFlip(), Normalize(INAT_MEAN, INAT_STD)),))


def inat_slaug(size: int = 224) -> Views:
    """`slaug` with iNaturalist's mean and standard deviation: KCL on iNaturalist, whatever augmentation is named."""
    return _twice(inat(size)[0])


def evaluation(size: int = 224) -> Views:
    """Evaluation: the short side resized to 256 px, then the center 224 x 224; in proportion for other sizes."""
    return check(((ResizeCenterCrop(size, round(size * 256 / 224)), Normalize()),))


def inat_evaluation(size: int = 224) -> Views:
    """`evaluation` with iNaturalist's mean and standard deviation."""
    return check(((*evaluation(size)[0][:-1], Normalize(INAT_MEAN, INAT_STD)),))


def simclr_evaluation(size: int = 224) -> Views:
    """Evaluation of SimCLR on ImageNet: 0.875 of the image, bicubic, not normalized."""
    return check(((ResizeCenterCrop(size, round(size / 0.875), "bicubic"), RAW),))


def simclr_cifar_evaluation(size: int = 32) -> Views:
    """Evaluation of SimCLR on CIFAR: the whole square image, not normalized."""
    return check(((ResizeCenterCrop(size, size, "bicubic"), RAW),))


def transfer(size: int = 224) -> Views:
    """Training on features of a frozen network, on other data sets; bicubic."""
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


def _twice(view: View) -> Views:
    return check((view, view))


VIEWS: dict[str, Callable[[int], Views]] = {
    f.__name__: f
    for f in (
        *(moco_v1, moco_v2, ssl_small, ssl_small_cj1, ssl_small_mask, byol),
        *(seed, seed_moco_v1, seed_moco_v2, seed_patches, swav, swav_large, dino, dino_resnet, dino_large),
        *(simclr, simclr_cifar, simclr_sthalles, sdclr, sdclr_cifar, simclr_evaluation, simclr_cifar_evaluation),
        *(supervised, slaug, ltaug, inat, inat_slaug, evaluation, inat_evaluation),
        *(transfer, transfer_finetune, transfer_evaluation, transfer_cifar),
    )
}
"""Every recipe by its name: the side of a view in px -> views."""


def views_of(name: str, size: int = 224) -> Views:
    """The views of recipe `name`; UserError with the nearest names if there is none of that name."""
    return VIEWS[choose("augmentation recipe", name, VIEWS)](size)
