"""BalFeat in fp32: MoCo, KCL, classifiers and probes, on skewed sets and halves of the classes (spec: BalFeat)."""

from dataclasses import replace

from .moco import moco_v1
from .options import KCL, MoCo, Supervised


def moco_lt() -> MoCo:
    """MoCo on a long-tailed set.

    Command: main_moco -a resnet50 --lr 0.03 --weight-decay 0.0005 --batch-size 256 --subset imagenet_longtail_train
    Data: lt, and each of lt0 to lt8
    Published: -
    """
    return replace(moco_v1(), weight_decay=5e-4)


def moco_clsset1() -> MoCo:
    """MoCo on half of the classes.

    Command: main_moco -a resnet50 --lr 0.03 --batch-size 256 --clsset clsset1
    Data: clsset1
    Published: -
    """
    return moco_v1()


def kcl_lt() -> KCL:
    """KCL on a long-tailed set.

    Command: main_kcl --epochs 200 --slaug --cos --wd 0.0005 --posk 6 --trainset longtail --valset longtail_val
    Data: lt
    Published: -
    """
    return KCL(views="slaug", head="linear", temperature=0.07, lr=0.1, weight_decay=5e-4, precision="fp32")


def kcl_clsset1() -> KCL:
    """KCL on half of the classes.

    Command: main_kcl --epochs 200 --slaug --cos --wd 0.0001 --posk 6 --clsset clsset1
    Data: clsset1
    Published: -
    """
    return replace(kcl_lt(), weight_decay=1e-4)


def sl_lt() -> Supervised:
    """Supervised training on a long-tailed set.

    Command: main_sl -a resnet50 --cos --wd 0.0005 --trainset SET --valset imagenet_longtail_val
    Data: lt0 (100k), lt2, lt4, lt6, lt8, lt
    Published: -
    """
    return Supervised(views="supervised", epochs=90, lr=0.1, weight_decay=5e-4, precision="fp32")


def sl_clsset1() -> Supervised:
    """Supervised training on half of the classes.

    Command: main_sl -a resnet50 --cos --wd 0.0001 --epochs 90 --clsset clsset1
    Data: clsset1
    Published: -
    """
    return replace(sl_lt(), weight_decay=1e-4)


def sl_step() -> Supervised:
    """Supervised training with the release's defaults: a tenth of the rate every 30 epochs.

    Command: main_sl
    Data: ImageNet
    Published: -
    """
    return replace(sl_clsset1(), arch="resnet18", schedule="step", milestones=(30, 60))


def sl_second_stage() -> Supervised:
    """The classifier alone, on the full set, with the backbone of sl_lt; BatchNorm's running statistics drift.

    Command: main_sl -a resnet50 --cos --epochs 10 --pretrained (best.pt of sl_lt)
    Data: full
    Published: -
    """
    return Supervised(
        views="supervised",
        epochs=10,
        lr=0.1,
        trained="classifier",
        frozen_bn="train",
        fresh=False,
        precision="fp32",
    )


def sl_second_stage_comp() -> Supervised:
    """The classifier alone, on the other half of the classes, with the backbone of sl_clsset1.

    Command: main_sl -a resnet50 --epochs 10 --cos --clsset clsset1_comp --pretrained (best.pt of sl_clsset1)
    Data: clsset1_comp
    Published: -
    """
    return sl_second_stage()


def sl_second_stage_balanced() -> Supervised:
    """The classifier alone, classes in turn.

    Command: main_sl -a resnet50 --cos --wd 0.0005 --pretrained (best.pt of sl_lt) --epochs 10 --balanced --bal_repeat 4
    Data: lt
    Published: -
    """
    return replace(sl_second_stage(), weight_decay=5e-4, balanced=True, bal_repeat=4)


def linear() -> Supervised:
    """Linear probe of MoCo, KCL and ssl-small networks.

    Command: main_lincls -a resnet50 --lr 30.0 --batch-size 256 --pretrained (moco_*, kcl_*)
    Data: full (after moco_lt), lt (after kcl_lt), clsset1 and clsset1_comp (after *_clsset1)
    Published: see moco_v1, moco_v2
    """
    return Supervised(
        views="supervised",
        epochs=100,
        lr=30.0,
        weight_decay=0.0,
        schedule="step",
        milestones=(60, 80),
        trained="classifier",
        precision="fp32",
    )
