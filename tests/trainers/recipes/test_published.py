"""Every recipe has the values of the command that it repeats: of its flags, and the defaults of the program."""

from dataclasses import replace

import pytest

from viewstream.trainers.recipes import RECIPES, rate_note, recipe_named
from viewstream.trainers.recipes.options import BYOL

ARCHS = ("efficientnet_b0", "mobilenetv3_large", "mobilenetv3_small", "resnet18", "resnet34")

# Defaults of the programs, under the names here (specs: BalFeat 2-6, SEED 10-13, ssl-small A.2 and A.11, STS B.1-B.10).
SGD = {"optimizer": "sgd", "momentum": 0.9, "weight_decay": 1e-4}
MOCO = SGD | {
    **{"method": "moco", "arch": "resnet50", "views": "moco_v1", "head": "linear", "dim": 128, "queue": 65536},
    **{"key_momentum": 0.999, "temperature": 0.07, "epochs": 200, "batch_size": 256, "lr": 0.03, "precision": "fp32"},
    **{"schedule": "step", "milestones": (120, 160), "step_factor": 0.1, "warmup_epochs": 0, "bn_groups": 8},
}
V2 = MOCO | {
    "head": "mlp",
    "temperature": 0.2,
    "views": "moco_v2",
    "schedule": "cos",
}  # --mlp --moco-t --aug-plus --cos
KCL = MOCO | {"method": "kcl", "views": "slaug", "lr": 0.1, "schedule": "cos", "posk": 6, "losstype": "v1"}
SL = SGD | {
    **{"method": "supervised", "arch": "resnet50", "views": "supervised", "test_views": "evaluation", "lr": 0.1},
    **{"epochs": 90, "batch_size": 256, "schedule": "cos", "lr_end": 0, "trained": "all", "classifier": "linear"},
    **{"balanced": False, "precision": "fp32"},
}
SECOND = SL | {"epochs": 10, "trained": "classifier", "frozen_bn": "train", "fresh": False}
PROBE = SL | {
    **{"epochs": 100, "lr": 30.0, "weight_decay": 0, "schedule": "step", "milestones": (60, 80), "step_factor": 0.1},
    **{"trained": "classifier", "frozen_bn": "eval", "fresh": True, "bias": True},
}
SEED = SGD | {
    **{"method": "seed", "head": "mlp", "teacher_head": "mlp", "dim": 128, "queue": 65536, "epochs": 200, "lr": 0.03},
    **{"temperature": 0.2, "teacher_temperature": 1e-4, "schedule": "cos", "warmup_epochs": 5, "batch_size": 256},
    **{"precision": "auto-fp16", "bn_groups": 8},
}
PATCHES = SEED | {"views": "seed_patches"}
SMALL = V2 | {
    **{"views": "ssl_small_cj1", "head": "wide", "temperature": 0.1, "epochs": 800, "batch_size": 512, "lr": 0.06},
    **{"precision": "auto-fp16"},
}
TRANSFER = PROBE | {"views": "transfer", "classifier": "normalized", "test_views": "transfer_cifar"}
STS = SGD | {
    **{"method": "sts", "arch": "resnet50", "views": "byol", "dim": 256, "hidden": 4096, "key_momentum": 0.99},
    **{"preserve": 0.7, "granularity": "tensor", "batch_size": 256, "lr": 0.05, "precision": "fp32"},
    **{"schedule": "warmcos", "warmup_epochs": 10, "warmup_lr": 1e-6},
}
BYOL_VALUES = {k: v for k, v in STS.items() if k not in ("preserve", "granularity")} | {"method": "byol", "epochs": 200}
M2T = BYOL_VALUES | {"method": "m2t", "bn_groups": 8}
LARS = M2T | {"optimizer": "lars", "weight_decay": 1e-6, "batch_size": 4096, "lr": 7.2, "bn_groups": 128}
DINO = {  # the program's defaults (spec: beyond 3.1 to 3.4)
    **{"method": "dino", "arch": "vit_small_patch16_224", "views": "dino", "epochs": 100, "batch_size": 512},
    **{"optimizer": "adamw", "lr": 0.001, "lr_end": 1e-6, "schedule": "warmcos-closed", "warmup_epochs": 10},
    **{"weight_decay": 0.04, "weight_decay_end": 0.4, "dim": 65536, "hidden": 2048, "bottleneck": 256, "clip": 3.0},
    **{
        "key_momentum": 0.996,
        "center_momentum": 0.9,
        "temperature": 0.1,
        "teacher_temperature": 0.04,
        "head_bn": False,
    },
    **{"teacher_warmup_epochs": 0, "fixed_norm": True, "freeze_last": 1, "drop_path": 0.1},
    **{"precision": "auto-fp16"},
}

SIMCLR = {
    **{"method": "simclr", "arch": "resnet50", "views": "simclr", "size": 224, "head": "simclr-3", "dim": 128},
    **{"directions": "sum", "temperature": 0.1, "optimizer": "lars-simclr", "momentum": 0.9, "weight_decay": 1e-4},
    **{"schedule": "warmcos", "warmup_epochs": 10, "warmup_lr": 0, "lr_end": 0, "precision": "fp32"},
}
SDCLR = SGD | {
    **{"method": "simclr", "head": "sdclr", "dim": 128, "directions": "mean", "temperature": 0.2, "lr": 0.5},
    **{"schedule": "warmcos-ahead", "warmup_epochs": 10, "warmup_lr": 0, "lr_end": 1e-6, "precision": "fp32"},
}
SWAV = {
    **{"method": "swav", "arch": "resnet50", "views": "swav", "size": 224, "dim": 128, "hidden": 2048},
    **{"prototypes": 3000, "temperature": 0.1, "epsilon": 0.05, "iterations": 3, "optimizer": "larc", "momentum": 0.9},
    **{"weight_decay": 1e-6, "schedule": "warmcos-closed", "precision": "auto-fp16"},
}
SWAV_LARGE = SWAV | {
    **{"batch_size": 4096, "lr": 4.8, "lr_end": 0.0048, "warmup_epochs": 10, "warmup_lr": 0.3, "freeze": 313},
    **{"queue": 0},
}
SWAV_SMALL = SWAV | {
    **{"batch_size": 256, "lr": 0.6, "lr_end": 0.0006, "warmup_epochs": 0, "freeze": 5005, "queue": 3840},
    **{"queue_epoch": 15},
}

VALUES = {
    "moco_v1": MOCO,
    "moco_v2": V2,
    "moco_v2_800": V2 | {"epochs": 800},
    "moco_v1_4gpu": MOCO | {"lr": 0.015, "batch_size": 128, "bn_groups": 4},
    "moco_v2_4gpu": V2 | {"lr": 0.015, "batch_size": 128, "bn_groups": 4},
    "moco_lt": MOCO | {"weight_decay": 5e-4},
    "moco_clsset1": MOCO,
    "kcl_lt": KCL | {"weight_decay": 5e-4},
    "kcl_clsset1": KCL,
    "sl_lt": SL | {"weight_decay": 5e-4},
    "sl_clsset1": SL,
    "sl_step": SL | {"arch": "resnet18", "schedule": "step", "milestones": (30, 60)},
    "sl_second_stage": SECOND,
    "sl_second_stage_comp": SECOND,
    "sl_second_stage_balanced": SECOND | {"weight_decay": 5e-4, "balanced": True, "bal_repeat": 4},
    "linear": PROBE,
    **{f"ssl_small_{arch}": SMALL | {"arch": arch} for arch in ARCHS},
    "ssl_small_200": SMALL | {"arch": "mobilenetv3_large", "epochs": 200},
    "transfer": TRANSFER,
    "transfer_finetune": TRANSFER
    | {"views": "transfer_finetune", "trained": "all", "step_factor": 0.2, "lr": 1.0},  # the program's 30 diverges
    "seed_resnet18": SEED | {"views": "seed_moco_v2", "arch": "resnet18", "teacher_arch": "resnet50"},
    "seed_mobilenetv3_large": SEED | {"views": "seed_moco_v2", "arch": "mobilenetv3_large", "teacher_arch": "resnet50"},
    "seed_resnet18_mocov1": SEED
    | {"views": "seed_moco_v1", "arch": "resnet18", "head": "linear", "teacher_head": "linear"},
    "seed_resnet18_simclr": SEED | {"views": "seed_moco_v1", "arch": "resnet18", "teacher_arch": "simclr_resnet50"},
    "seed_swav": SEED | {"views": "seed", "arch": "efficientnet_b0", "teacher_arch": "swav_resnet50"},
    "seed_patches_efficientnet_b1": PATCHES
    | {"arch": "efficientnet_b1", "teacher_arch": "swav_resnet50", "batch_size": 16, "lr": 0.03 / 16, "bn_groups": 1},
    "seed_patches_resnet18": PATCHES | {"arch": "resnet18", "teacher_arch": "swav_resnet50_w2", "epochs": 400},
    "seed_patches_efficientnet_b0": PATCHES
    | {"arch": "efficientnet_b0", "teacher_arch": "swav_resnet50_w2", "epochs": 800},
    "seed_patches_efficientnet_b0_w4": PATCHES
    | {"arch": "efficientnet_b0", "teacher_arch": "swav_resnet50_w4", "epochs": 400},
    "seed_patches_resnet50": PATCHES | {"arch": "resnet50", "teacher_arch": "swav_resnet50_w4", "epochs": 400},
    "seed_linear": PROBE | {"arch": "efficientnet_b0", "batch_size": 32, "lr": 30 * 32 / 256, "warmup_epochs": 5},
    "byol": BYOL_VALUES,
    "sts_200": STS | {"epochs": 200},
    "sts_300": STS | {"epochs": 300},
    "sts_1000": STS | {"epochs": 1000},
    "sts_linear": PROBE | {"classifier": "batchnorm"},
    "sts_linear_byol": PROBE
    | {"classifier": "batchnorm", "epochs": 80, "lr": 0.2, "schedule": "warmcos", "warmup_epochs": 0},
    **{f"m2t_{epochs}": M2T | {"epochs": epochs} for epochs in (100, 200, 300)},
    **{f"m2t_1024_{epochs}": M2T | {"epochs": epochs, "batch_size": 1024, "lr": 0.2} for epochs in (100, 200, 300)},
    **{f"m2t_4096_{epochs}": LARS | {"epochs": epochs} for epochs in (100, 200)},
    "m2t_4096_300": LARS | {"epochs": 300, "lr": 4.8},
    "simclr": SIMCLR | {"batch_size": 4096, "epochs": 100, "lr": 0.3 * 4096 / 256},
    "simclr_cifar10": SIMCLR
    | {"arch": "resnet18", "stem": "cifar", "size": 32, "views": "simclr_cifar", "temperature": 0.5}
    | {"batch_size": 512, "epochs": 1000, "lr": 1.0 * 512 / 256},
    "simclr_sthalles": {"method": "simclr", "arch": "resnet18", "views": "simclr_sthalles", "head": "mlp", "dim": 128}
    | {"directions": "mean", "temperature": 0.07, "optimizer": "adam", "lr": 3e-4, "weight_decay": 1e-4}
    | {"schedule": "cos-late", "epochs": 200, "batch_size": 256, "precision": "fp32"},
    "sdclr_cifar10": SDCLR
    | {"arch": "resnet18", "stem": "cifar", "size": 32, "views": "sdclr_cifar", "batch_size": 512, "epochs": 2000},
    "sdclr_imagenet100": SDCLR | {"arch": "resnet50", "views": "sdclr", "batch_size": 256, "epochs": 500},
    **{f"swav_{epochs}": SWAV_LARGE | {"epochs": epochs} for epochs in (100, 200, 400, 800)},
    **{f"swav_{epochs}_256": SWAV_SMALL | {"epochs": epochs} for epochs in (200, 400)},
    "swav_400_large": SWAV_LARGE | {"epochs": 400, "views": "swav_large"},
    "dino_vit_small": DINO,
    "dino_vit_small_300": DINO
    | {"epochs": 300, "batch_size": 1024, "lr": 0.002, "fixed_norm": False}
    | {"teacher_temperature": 0.07, "teacher_warmup_temperature": 0.04, "teacher_warmup_epochs": 30},
    "dino_vit_tiny": DINO | {"arch": "vit_tiny_patch16_224"},
    "dino_linear": PROBE
    | {
        **{"arch": "vit_small_patch16_224", "test_views": "transfer_evaluation", "batch_size": 1024, "lr": 0.004},
        **{"schedule": "cos", "milestones": (120, 160), "blocks": 4},
    },
    "dino_resnet50": DINO
    | {"arch": "resnet50", "views": "dino_resnet", "optimizer": "sgd", "momentum": 0.9, "lr": 0.06}
    | {"weight_decay": 1e-4, "weight_decay_end": 1e-4},
}


def test_no_recipe_is_left_out():
    assert VALUES.keys() == RECIPES.keys()


@pytest.mark.parametrize("name", RECIPES)
def test_a_recipe_has_the_values_of_its_program(name):
    recipe = RECIPES[name]()
    assert {key: getattr(recipe, key) for key in VALUES[name]} == VALUES[name]


@pytest.mark.parametrize("method", ["moco", "seed", "supervised"])
def test_only_a_named_recipe_has_the_precision_of_its_program(method):
    assert recipe_named("", method).precision == "auto"


def test_without_a_name_and_a_method_moco_trains_in_the_fast_precision():
    assert recipe_named("").precision == "auto"
    assert recipe_named("byol") == BYOL(
        views="byol", lr=0.05, schedule="warmcos", warmup_epochs=10, warmup_lr=1e-6, precision="fp32"
    )


@pytest.mark.parametrize(
    ("name", "method", "options", "rate"),
    [
        ("sts_200", "", {"batch_size": 128}, "takes 0.05 x batch / 256, which is 0.025 for batches of 128"),
        ("", "sts", {"batch_size": 512, "lr": 0.05}, "which is 0.1 for"),
        ("m2t_1024_100", "", {"batch_size": 512}, "which is 0.1 for"),
        ("m2t_4096_300", "", {"batch_size": 256}, "which is 0.3 for"),
        ("seed_resnet18", "", {"batch_size": 1024}, "which is 0.12 for"),
        ("dino_vit_small", "", {"batch_size": 256}, "takes 0.0005 x batch / 256, which is 0.0005 for"),
        ("sts_200", "", {"batch_size": 128, "lr": 0.025}, ""),
        ("sts_200", "", {"lr": 0.1}, ""),
        ("moco_v2", "", {"batch_size": 128}, ""),  # these programs do not scale
        ("kcl_lt", "", {"batch_size": 128}, ""),
    ],
)
def test_the_rate_that_a_program_takes_for_another_batch_is_named(name, method, options, rate):
    note = rate_note(replace(recipe_named(name, method), **options), name)
    assert (rate in note) if rate else not note
