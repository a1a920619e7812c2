"""SwAV as its release trains it, in fp16 (spec: methods beyond 2).

BatchNorm takes its statistics over all ranks; at 4,096 images the release takes groups of 8 GPUs, 512 images.
"""

from dataclasses import replace

from .options import SwAV


def swav_200_256() -> SwAV:
    """SwAV with batches of 256 and a queue, 200 epochs (174 h on 4 V100).

    Command: scripts/swav_200ep_bs256_pretrain.sh
    Data: ImageNet
    Published: linear 72.7
    """
    return SwAV(
        views="swav",
        optimizer="larc",
        lr=0.6,
        lr_end=0.0006,
        schedule="warmcos-closed",
        weight_decay=1e-6,
        freeze=5005,
        queue=3840,
        precision="auto-fp16",
    )


def swav_400_256() -> SwAV:
    """SwAV with batches of 256 and a queue, 400 epochs; also README's command for a single node, 8 GPUs.

    Command: scripts/swav_400ep_bs256_pretrain.sh
    Data: ImageNet
    Published: linear 74.3
    """
    return replace(swav_200_256(), epochs=400)


def swav_800() -> SwAV:
    """SwAV with batches of 4,096, 800 epochs (49 h on 64 V100).

    Command: scripts/swav_800ep_pretrain.sh
    Data: ImageNet
    Published: linear 75.3
    """
    large = {"batch_size": 4096, "lr": 4.8, "lr_end": 0.0048, "warmup_epochs": 10, "warmup_lr": 0.3}
    return replace(swav_200_256(), **large, epochs=800, freeze=313, queue=0)


def swav_400() -> SwAV:
    """SwAV with batches of 4,096, 400 epochs.

    Command: scripts/swav_400ep_pretrain.sh
    Data: ImageNet
    Published: linear 74.6
    """
    return replace(swav_800(), epochs=400)


def swav_200() -> SwAV:
    """SwAV with batches of 4,096, 200 epochs.

    Command: scripts/swav_200ep_pretrain.sh
    Data: ImageNet
    Published: linear 73.9
    """
    return replace(swav_800(), epochs=200)


def swav_100() -> SwAV:
    """SwAV with batches of 4,096, 100 epochs.

    Command: scripts/swav_100ep_pretrain.sh
    Data: ImageNet
    Published: linear 72.1
    """
    return replace(swav_800(), epochs=100)


def swav_400_large() -> SwAV:
    """SwAV without small crops, 400 epochs.

    Command: scripts/swav_400ep_2x224_pretrain.sh
    Data: ImageNet
    Published: linear 70.1
    """
    return replace(swav_400(), views="swav_large")
