"""Spatial Ensemble, and Momentum^2 Teacher beneath it, with their linear probes (spec: Spatial Ensemble B.9, B.10)."""

from dataclasses import replace

from .options import BYOL, M2T, STS, Supervised

LR = 0.05  # per 256 images, of every preset with SGD


def byol() -> BYOL:
    """The method without its ensemble: Spatial Ensemble's program with --perserving_prob 0.

    Command: train -b 256 -d 0-7 -f sts_200e_32batch_1mm_099_exp --perserving_prob 0
    Data: ImageNet
    Published: -
    """
    return BYOL(views="byol", lr=LR, schedule="warmcos", warmup_epochs=10, warmup_lr=1e-6)


def _sts(epochs: int) -> STS:
    return STS(views="byol", epochs=epochs, lr=LR, schedule="warmcos", warmup_epochs=10, warmup_lr=1e-6)


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


def _m2t(epochs: int, batch: int) -> M2T:
    return M2T(
        views="byol", epochs=epochs, batch_size=batch, lr=LR * batch / 256, schedule="warmcos", warmup_epochs=10,
        warmup_lr=1e-6,
    )  # fmt: skip


def m2t_100() -> M2T:
    """Momentum^2 Teacher on 8 x 2080 Ti, 100 epochs.

    Command: train -b 256 -d 0-7 -f exp_8_2080ti/100e_32batch_1mm_099
    Data: ImageNet
    Published: linear 70.4
    """
    return _m2t(100, 256)


def m2t_200() -> M2T:
    """Momentum^2 Teacher on 8 x 2080 Ti, 200 epochs.

    Command: train -b 256 -d 0-7 -f exp_8_2080ti/200e_32batch_1mm_099
    Data: ImageNet
    Published: linear 72.3
    """
    return _m2t(200, 256)


def m2t_300() -> M2T:
    """Momentum^2 Teacher on 8 x 2080 Ti, 300 epochs.

    Command: train -b 256 -d 0-7 -f exp_8_2080ti/300e_32batch_1mm_099
    Data: ImageNet
    Published: linear 72.9
    """
    return _m2t(300, 256)


def m2t_1024_100() -> M2T:
    """Momentum^2 Teacher on 8 V100, batch 1024, 100 epochs.

    Command: train -b 1024 -d 0-7 -f exp_8_v100/100e
    Data: ImageNet
    Published: linear 70.7
    """
    return _m2t(100, 1024)


def m2t_1024_200() -> M2T:
    """Momentum^2 Teacher on 8 V100, batch 1024, 200 epochs.

    Command: train -b 1024 -d 0-7 -f exp_8_v100/200e
    Data: ImageNet
    Published: linear 72.7
    """
    return _m2t(200, 1024)


def m2t_1024_300() -> M2T:
    """Momentum^2 Teacher on 8 V100, batch 1024, 300 epochs.

    Command: train -b 1024 -d 0-7 -f exp_8_v100/300e
    Data: ImageNet
    Published: linear 73.8
    """
    return _m2t(300, 1024)


def _m2t_lars(epochs: int, lr: float) -> M2T:
    return replace(_m2t(epochs, 4096), optimizer="lars", lr=lr * 4096 / 256, weight_decay=1e-6, bn_groups=128)


def m2t_4096_100() -> M2T:
    """Momentum^2 Teacher on 128 x 2080 Ti, batch 4096 with LARS, 100 epochs.

    Command: MACHINE=0..15 train -b 4096 -d 0-7 -f exp_128_2080ti/100e_4096batch_16mm
    Data: ImageNet
    Published: linear 69.0 (70.3 on 32 V100)
    """
    return _m2t_lars(100, 0.45)


def m2t_4096_200() -> M2T:
    """Momentum^2 Teacher on 128 x 2080 Ti, batch 4096 with LARS, 200 epochs.

    Command: MACHINE=0..15 train -b 4096 -d 0-7 -f exp_128_2080ti/200e_4096batch_16mm
    Data: ImageNet
    Published: linear 71.5 (72.5 on 32 V100)
    """
    return _m2t_lars(200, 0.45)


def m2t_4096_300() -> M2T:
    """Momentum^2 Teacher on 128 x 2080 Ti, batch 4096 with LARS, 300 epochs.

    Command: MACHINE=0..15 train -b 4096 -d 0-7 -f exp_128_2080ti/300e_4096batch_16mm
    Data: ImageNet
    Published: linear 72.3 (73.7 on 32 V100)
    """
    return _m2t_lars(300, 0.3)


def sts_linear() -> Supervised:
    """Linear probe of a teacher, BatchNorm behind the classifier.

    Command: eval -b 256 -f linear_eval_exp
    Data: ImageNet
    Published: -
    """
    return Supervised(
        views="supervised", epochs=100, lr=30.0, weight_decay=0.0, schedule="step", milestones=(60, 80),
        trained="classifier", classifier="batchnorm",
    )  # fmt: skip


def sts_linear_byol() -> Supervised:
    """Linear probe of a teacher by which its numbers were published.

    Command: eval -b 256 -f linear_eval_exp_byol
    Data: ImageNet
    Published: see sts_*, m2t_*
    """
    return replace(sts_linear(), epochs=80, lr=0.2, schedule="warmcos")
