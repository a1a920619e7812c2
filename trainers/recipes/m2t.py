"""Momentum^2 Teacher, which Spatial Ensemble builds on (spec: Spatial Ensemble B.1, B.9); in fp32."""

from dataclasses import replace

from .ensemble import LR
from .options import M2T


def _m2t(epochs: int, batch: int) -> M2T:
    return M2T(
        views="byol",
        epochs=epochs,
        batch_size=batch,
        lr=LR * batch / 256,
        schedule="warmcos",
        warmup_epochs=10,
        warmup_lr=1e-6,
        precision="fp32",
    )


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
