"""Spatial Ensemble, and the linear probes of its teachers (spec: Spatial Ensemble B.1, B.9, B.10); in fp32."""

from dataclasses import replace

from .options import BYOL, STS, Supervised

LR = 0.05  # per 256 images, of every preset with SGD


def byol() -> BYOL:
    """BYOL: Spatial Ensemble's program with --perserving_prob 0.

    Command: train -b 256 -d 0-7 -f sts_200e_32batch_1mm_099_exp --perserving_prob 0
    Data: ImageNet
    Published: -
    """
    return BYOL(views="byol", lr=LR, schedule="warmcos", warmup_epochs=10, warmup_lr=1e-6, precision="fp32")


def _sts(epochs: int) -> STS:
    return STS(
        views="byol",
        epochs=epochs,
        lr=LR,
        schedule="warmcos",
        warmup_epochs=10,
        warmup_lr=1e-6,
        precision="fp32",
    )


def sts_200() -> STS:
    """Spatial Ensemble, 200 epochs (8 x 2080).

    Command: train -b 256 -d 0-7 -f sts_200e_32batch_1mm_099_exp
    Data: ImageNet
    Published: linear 72.7 (top-5 90.9)
    """
    return _sts(200)


def sts_300() -> STS:
    """Spatial Ensemble, 300 epochs.

    Command: train -b 256 -d 0-7 -f sts_300e_32batch_1mm_099_exp
    Data: ImageNet
    Published: linear 73.0 (top-5 91.3)
    """
    return _sts(300)


def sts_1000() -> STS:
    """Spatial Ensemble, 1000 epochs.

    Command: train -b 256 -d 0-7 -f sts_1000e_32batch_1mm_099_exp
    Data: ImageNet
    Published: linear 74.5 (top-5 91.8)
    """
    return _sts(1000)


def sts_linear() -> Supervised:
    """Linear probe of a teacher, with BatchNorm after the classifier.

    Command: eval -b 256 -f linear_eval_exp
    Data: ImageNet
    Published: -
    """
    return Supervised(
        views="supervised",
        epochs=100,
        lr=30.0,
        weight_decay=0.0,
        schedule="step",
        milestones=(60, 80),
        trained="classifier",
        classifier="batchnorm",
        precision="fp32",
    )


def sts_linear_byol() -> Supervised:
    """Linear probe of a teacher, as used for the published numbers.

    Command: eval -b 256 -f linear_eval_exp_byol
    Data: ImageNet
    Published: see sts_*, m2t_*
    """
    return replace(sts_linear(), epochs=80, lr=0.2, schedule="warmcos")
