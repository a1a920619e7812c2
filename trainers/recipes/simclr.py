"""SimCLR as Google's release, sthalles/SimCLR and the baselines of SDCLR train it, in fp32 (spec: methods beyond 1)."""

from dataclasses import replace

from .options import SimCLR

# Decay, momentum and warm-up of Google's program. It takes lr x batch / 256, or lr x sqrt(batch).
GOOGLE = SimCLR(
    views="simclr",
    directions="sum",
    optimizer="lars-simclr",
    schedule="warmcos",
    warmup_epochs=10,
    batch_size=4096,
    precision="fp32",
)


def simclr() -> SimCLR:
    """SimCLR, 100 epochs; for another batch size the program takes a rate of 0.075 x sqrt(batch).

    The same as --learning_rate=0.3 --learning_rate_scaling=linear at this batch size. Sigmas of the blur are drawn for
    each image, where the program draws one for each device.

    Command: run.py --train_mode=pretrain --train_batch_size=4096 --train_epochs=100 --temperature=0.1
      --learning_rate=0.075 --learning_rate_scaling=sqrt --weight_decay=1e-4 --dataset=imagenet2012 --image_size=224
    Data: ImageNet
    Published: linear about 64.5
    """
    return replace(GOOGLE, epochs=100, lr=4.8)


def simclr_cifar10() -> SimCLR:
    """SimCLR on CIFAR-10 with one GPU; the program takes --learning_rate x batch / 256.

    Command: run.py --train_mode=pretrain --train_batch_size=512 --train_epochs=1000 --learning_rate=1.0
      --weight_decay=1e-4 --temperature=0.5 --dataset=cifar10 --image_size=32 --resnet_depth=18 --use_blur=False
      --color_jitter_strength=0.5
    Data: CIFAR-10
    Published: linear about 91
    """
    small = {"arch": "resnet18", "stem": "cifar", "views": "simclr_cifar", "size": 32, "temperature": 0.5}
    return replace(GOOGLE, **small, epochs=1000, batch_size=512, lr=2.0)


def simclr_sthalles() -> SimCLR:
    """sthalles/SimCLR; its cosine has a half period of as many epochs as an epoch has steps, and begins after ten.

    Command: run.py -data ./datasets -dataset-name stl10 --arch resnet18 --epochs 200 --batch-size 256 --lr 0.0003
      --temperature 0.07
    Data: STL-10 (unlabeled)
    Published: -
    """
    small = {"arch": "resnet18", "views": "simclr_sthalles", "size": 96, "head": "mlp", "temperature": 0.07}
    return SimCLR(**small, optimizer="adam", lr=3e-4, schedule="cos-late", epochs=200, precision="fp32")


def sdclr_cifar10() -> SimCLR:
    """The baseline of SDCLR on CIFAR-10 and CIFAR-100; a step has the rate of the next one.

    Command: train_simCLR.py --dataset cifar --model res18 --batch_size 512 --epochs 2000 --lr 0.5 --temp 0.2
    Data: CIFAR-10-LT, CIFAR-100-LT
    Published: -
    """
    small = {"arch": "resnet18", "stem": "cifar", "views": "sdclr_cifar", "size": 32}
    return replace(sdclr_imagenet100(), **small, epochs=2000, batch_size=512)


def sdclr_imagenet100() -> SimCLR:
    """The baseline of SDCLR on ImageNet-100.

    Command: train_simCLR.py --dataset imagenet-100 --model res50 --batch_size 256 --epochs 500 --lr 0.5 --temp 0.2
    Data: ImageNet-100-LT
    Published: -
    """
    rate = {"lr": 0.5, "schedule": "warmcos-ahead", "warmup_epochs": 10, "lr_end": 1e-6}
    return SimCLR(views="sdclr", head="sdclr", temperature=0.2, **rate, epochs=500, precision="fp32")
