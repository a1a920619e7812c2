"""MoCo v1 and v2, as their own release trains them: in fp32."""

from dataclasses import replace

from .options import MoCo


def moco_v1() -> MoCo:
    """MoCo v1, 200 epochs (53 h on 8 V100).

    Command: main_moco -a resnet50
    Data: ImageNet
    Published: linear 60.8 +- 0.2 (60.6 60.6 60.7 60.9 61.1)
    """
    return MoCo(views="moco_v1", head="linear", temperature=0.07, schedule="step", precision="fp32")


def moco_v2() -> MoCo:
    """MoCo v2, 200 epochs (53 h on 8 V100).

    Command: main_moco -a resnet50 --mlp --moco-t 0.2 --aug-plus --cos
    Data: ImageNet
    Published: linear 67.5 +- 0.1 (67.7 67.6 67.4 67.6 67.3)
    """
    return MoCo(precision="fp32")


def moco_v2_800() -> MoCo:
    """MoCo v2, 800 epochs.

    Command: main_moco -a resnet50 --mlp --moco-t 0.2 --aug-plus --cos --epochs 800
    Data: ImageNet
    Published: linear 71.1
    """
    return replace(moco_v2(), epochs=800)


def moco_v1_4gpu() -> MoCo:
    """MoCo v1 at half the batch and rate, for four GPUs.

    Command: main_moco -a resnet50 --lr 0.015 --batch-size 128
    Data: ImageNet
    Published: -
    """
    return replace(moco_v1(), lr=0.015, batch_size=128, bn_groups=4)


def moco_v2_4gpu() -> MoCo:
    """MoCo v2 at half the batch and rate, for four GPUs.

    Command: main_moco -a resnet50 --mlp --moco-t 0.2 --aug-plus --cos --lr 0.015 --batch-size 128
    Data: ImageNet
    Published: -
    """
    return replace(moco_v2(), lr=0.015, batch_size=128, bn_groups=4)
