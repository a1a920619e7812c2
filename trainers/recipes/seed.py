"""SEED: the distillations whose students were released, in fp16, and their linear probe in fp32 (spec: SEED 10-13)."""

from dataclasses import replace

from .options import SEED, Supervised


def _seed(student: str, teacher: str, batch: int = 256, epochs: int = 200) -> SEED:
    """lr 0.03 per 256 images, after five warm-up epochs that start at 0.03."""
    views = "seed_patches" if teacher.startswith("swav") else "seed_moco_v2"
    return SEED(
        views=views,
        arch=student,
        teacher_arch=teacher,
        epochs=epochs,
        batch_size=batch,
        lr=0.03 * batch / 256,
        warmup_epochs=5,
        warmup_lr="per-256",
        precision="auto-fp16",
    )


def seed_patches_efficientnet_b1() -> SEED:
    """SEED with small patches, in one process: BatchNorm over all 16 images of a batch.

    The rate is that of `--distributed True`, without which the program saves nothing.

    Command: main_small-patch -a efficientnet_b1 -k swav_resnet50 --teacher_ssl swav --distill swav_400ep --lr 0.03
      --batch-size 16 --temp 0.2 --workers 4
    Data: ImageNet
    Published: -
    """
    return replace(_seed("efficientnet_b1", "swav_resnet50", batch=16), bn_groups=1)


def seed_resnet18() -> SEED:
    """SEED from MoCo v2's ResNet-50 (200 epochs).

    Command: main -a resnet18 --batch-size 256 -k resnet50 -s moco --distill moco_v2_200ep
    Data: ImageNet
    Published: -
    """
    return _seed("resnet18", "resnet50")


def seed_mobilenetv3_large() -> SEED:
    """SEED from MoCo v2's ResNet-50 (200 epochs).

    Command: main -a mobilenetv3_large --batch-size 256 -k resnet50 -s moco --distill moco_v2_200ep
    Data: ImageNet
    Published: linear 68.2 (MoCo v2 alone 36.3; the abstract's best teacher)
    """
    return _seed("mobilenetv3_large", "resnet50")


def seed_resnet18_mocov1() -> SEED:
    """SEED from MoCo v1's ResNet-50: linear heads, v1's augmentation.

    Command: main -a resnet18 --batch-size 256 -k resnet50 -s moco --student_mlp '' --distill moco_v1_200ep
    Data: ImageNet
    Published: -
    """
    return replace(_seed("resnet18", "resnet50"), views="seed_moco_v1", head="linear", teacher_head="linear")


def seed_resnet18_simclr() -> SEED:
    """SEED from SimCLR's ResNet-50.

    Command: main -a resnet18 --batch-size 256 -k resnet50 -s simclr --distill simclr_200ep
    Data: ImageNet
    Published: -
    """
    return replace(_seed("resnet18", "simclr_resnet50"), views="seed_moco_v1")


def seed_swav() -> SEED:
    """SEED from SwAV's ResNet-50, one view; --teacher-arch swav_resnet50_w2 (w4, w5) takes the wider ones.

    Command: main -a efficientnet_b0 --batch-size 256 -k resnet50 -s swav --distill swav_800ep
    Data: ImageNet
    Published: -
    """
    return replace(_seed("efficientnet_b0", "swav_resnet50"), views="seed")


def seed_patches_resnet18() -> SEED:
    """SEED with small patches from SwAV's ResNet-50 of twice the width.

    Command: main_small-patch -a resnet18 -k swav_resnet50w2 --epochs 400 --batch-size 256 --distill swav_w2_400ep
    Data: ImageNet
    Published: -
    """
    return _seed("resnet18", "swav_resnet50_w2", epochs=400)


def seed_patches_efficientnet_b0() -> SEED:
    """SEED with small patches from SwAV's ResNet-50 of twice the width; a student of 400 epochs is released as well.

    Command: main_small-patch -a efficientnet_b0 -k swav_resnet50w2 --epochs 800 --batch-size 256
      --distill swav_w2_400ep
    Data: ImageNet
    Published: linear 67.6 (MoCo v2 alone 42.2; the abstract's best teacher)
    """
    return _seed("efficientnet_b0", "swav_resnet50_w2", epochs=800)


def seed_patches_efficientnet_b0_w4() -> SEED:
    """SEED with small patches from SwAV's ResNet-50 of four times the width.

    Command: main_small-patch -a efficientnet_b0 -k swav_resnet50w4 --epochs 400 --batch-size 256
      --distill swav_w4_400ep
    Data: ImageNet
    Published: -
    """
    return _seed("efficientnet_b0", "swav_resnet50_w4", epochs=400)


def seed_patches_resnet50() -> SEED:
    """SEED with small patches from SwAV's ResNet-50 of four times the width.

    Command: main_small-patch -a resnet50 -k swav_resnet50w4 --epochs 400 --batch-size 256 --distill swav_w4_400ep
    Data: ImageNet
    Published: linear 74.3 (MoCo v2 alone 67.4; the abstract's best teacher)
    """
    return _seed("resnet50", "swav_resnet50_w4", epochs=400)


def seed_linear() -> Supervised:
    """Linear probe of SEED's students: lr 30 per 256 images, after five warm-up epochs that start at 30.

    Command: main_lincls -a efficientnet_b0 --lr 30 --batch-size 32
    Data: ImageNet
    Published: see seed_*
    """
    return Supervised(
        views="supervised",
        arch="efficientnet_b0",
        epochs=100,
        batch_size=32,
        lr=30 * 32 / 256,
        weight_decay=0.0,
        schedule="step",
        milestones=(60, 80),
        warmup_epochs=5,
        warmup_lr="per-256",
        trained="classifier",
        precision="fp32",
    )
