"""ssl-small: MoCo in fp16 for five small networks that start from a few epochs of SEED (spec: ssl-small A.1, A.2); its
transfer is in fp32 (A.11)."""

from dataclasses import replace

from .options import MoCo, Supervised


def _small(arch: str) -> MoCo:
    return MoCo(
        views="ssl_small_cj1",
        arch=arch,
        head="wide",
        temperature=0.1,
        epochs=800,
        batch_size=512,
        lr=0.06,
        precision="auto-fp16",
    )


def ssl_small_efficientnet_b0() -> MoCo:
    """ssl-small's MoCo.

    Command: main_moco_final -a efficientnet_b0 --lr 0.06 --batch-size 512 --epochs 800 --mlp wide --moco-t 0.1 --cj 1.
      --grey-scale 0.5 --gaussian-blur 0.5 --cos --resume (SEED checkpoint) --restart
    Data: ImageNet
    Published: -
    """
    return _small("efficientnet_b0")


def ssl_small_mobilenetv3_large() -> MoCo:
    """ssl-small's MoCo.

    Command: main_moco_final -a mobilenetv3_large ... (as ssl_small_efficientnet_b0)
    Data: ImageNet
    Published: instance discrimination d-sd top-1..5 93.5 95.5 96.2 96.7 97.0
    """
    return _small("mobilenetv3_large")


def ssl_small_mobilenetv3_small() -> MoCo:
    """ssl-small's MoCo.

    Command: main_moco_final -a mobilenetv3_small ... (as ssl_small_efficientnet_b0)
    Data: ImageNet
    Published: -
    """
    return _small("mobilenetv3_small")


def ssl_small_resnet18() -> MoCo:
    """ssl-small's MoCo.

    Command: main_moco_final -a resnet18 ... (as ssl_small_efficientnet_b0)
    Data: ImageNet
    Published: -
    """
    return _small("resnet18")


def ssl_small_resnet34() -> MoCo:
    """ssl-small's MoCo.

    Command: main_moco_final -a resnet34 ... (as ssl_small_efficientnet_b0)
    Data: ImageNet
    Published: -
    """
    return _small("resnet34")


def ssl_small_200() -> MoCo:
    """ssl-small's MoCo, 200 epochs; --arch chooses among the five.

    Command: main_moco_final -a ARCH ... --epochs 200
    Data: ImageNet
    Published: -
    """
    return replace(_small("mobilenetv3_large"), epochs=200)


def transfer() -> Supervised:
    """A linear classifier on unit features of a fixed network; the release leaves lr and batch size to the user.

    Command: main_transfer -a ARCH --lr LR --batch-size B --pretrained (ssl_small_*)
      --dataset cifar10|cifar100|caltech101
    Data: CIFAR-10, CIFAR-100, Caltech-101
    Published: -
    """
    return Supervised(
        views="transfer",
        epochs=100,
        lr=30.0,
        weight_decay=0.0,
        schedule="step",
        milestones=(60, 80),
        trained="classifier",
        classifier="normalized",
        test_views="transfer_cifar",
        precision="fp32",
    )


def transfer_finetune() -> Supervised:
    """The whole network with a linear classifier on its unit features; a fifth of the rate at each milestone.

    The rate is 1: the program's default of 30, made for a classifier alone, diverges here.

    Command: main_transfer ... --finetune
    Data: CIFAR-10, CIFAR-100, Caltech-101
    Published: -
    """
    return replace(transfer(), views="transfer_finetune", lr=1.0, trained="all", step_factor=0.2)
