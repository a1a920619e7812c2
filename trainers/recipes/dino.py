"""DINO in fp16: the commands of its release (spec: beyond 3). Its program scales the rate with the batch.

Where weights differ at the start: timm draws the class token with a standard deviation of 1e-6, the release of 0.02.
"""

from dataclasses import replace

from .options import DINO, Supervised


def _dino(lr: float = 0.0005, batch: int = 512, epochs: int = 100) -> DINO:
    """`lr` per 256 images."""
    return DINO(
        views="dino",
        arch="vit_small_patch16_224",
        epochs=epochs,
        batch_size=batch,
        lr=lr * batch / 256,
        schedule="warmcos-closed",
        warmup_epochs=10,
        lr_end=1e-6,
        precision="auto-fp16",
    )


def dino_vit_small() -> DINO:
    """DINO of ViT-S/16, 100 epochs (1.75 days on 8 GPUs).

    Command: main_dino --arch vit_small (8 GPUs)
    Data: ImageNet
    Published: kNN 69.3, linear 74.0
    """
    return _dino()


def dino_vit_small_300() -> DINO:
    """DINO of ViT-S/16, 300 epochs, with a warmer teacher (2.6 days on 16 GPUs).

    Command: main_dino --arch vit_small --epochs 300 --teacher_temp 0.07 --warmup_teacher_temp_epochs 30
      --norm_last_layer false (16 GPUs)
    Data: ImageNet
    Published: kNN 73.3, linear 76.0
    """
    recipe = _dino(batch=1024, epochs=300)
    return replace(recipe, teacher_temperature=0.07, teacher_warmup_epochs=30, fixed_norm=False)


def dino_vit_tiny() -> DINO:
    """DINO of ViT-Ti/16.

    Command: main_dino --arch vit_tiny (8 GPUs)
    Data: ImageNet
    Published: -
    """
    return replace(_dino(), arch="vit_tiny_patch16_224")


def dino_resnet50() -> DINO:
    """DINO of ResNet-50.

    Command: main_dino --arch resnet50 --optimizer sgd --lr 0.03 --weight_decay 1e-4 --weight_decay_end 1e-4
      --global_crops_scale 0.14 1 --local_crops_scale 0.05 0.14 (8 GPUs)
    Data: ImageNet
    Published: -
    """
    recipe = replace(_dino(lr=0.03), arch="resnet50", views="dino_resnet", optimizer="sgd")
    return replace(recipe, weight_decay=1e-4, weight_decay_end=1e-4)


def dino_linear() -> Supervised:
    """Linear probe of a ViT-S, on the class tokens of its last four blocks; --blocks 0 for other networks.

    Command: eval_linear --arch vit_small (8 GPUs)
    Data: ImageNet
    Published: see dino_*
    """
    return Supervised(
        views="supervised",
        test_views="transfer_evaluation",
        arch="vit_small_patch16_224",
        epochs=100,
        batch_size=1024,
        lr=0.001 * 1024 / 256,
        weight_decay=0.0,
        schedule="cos",
        trained="classifier",
        blocks=4,
        precision="fp32",
    )
