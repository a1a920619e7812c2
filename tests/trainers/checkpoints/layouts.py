"""Checkpoints as the releases lay them out."""

import argparse

import torch

ARCH, WIDTH = "test_resnet", 96  # timm's smallest


def mlp(width=WIDTH, dim=8):
    return {
        "fc.0.weight": torch.rand(width, width),
        "fc.0.bias": torch.rand(width),
        "fc.2.weight": torch.rand(dim, width),
        "fc.2.bias": torch.rand(dim),
    }


def under(prefix, *states):
    return {prefix + k: v for state in states for k, v in state.items()}


def noise(body):
    return {k: torch.rand_like(v) if v.is_floating_point() else v for k, v in body.items()}


def tensors(file):
    """Number of weights in nested dictionaries."""
    inner = sum(tensors(value) for value in file.values() if isinstance(value, dict))
    return inner + sum(isinstance(value, torch.Tensor) for key, value in file.items() if key != "best_acc1")


# Name -> (body, head) -> what the release writes.
LAYOUTS = {
    "moco": lambda b, h: {
        "epoch": 200,
        "arch": ARCH,
        "optimizer": {},
        "state_dict": under("module.encoder_q.", b, h)
        | under("module.encoder_k.", noise(b), h)
        | {"module.queue": torch.rand(8, 16), "module.queue_ptr": torch.zeros(1).long()},
    },
    "kcl": lambda b, h: {
        "state_dict": under("module.encoder_q.", b, h)
        | under("module.encoder_k.", noise(b), h)
        | {"module.queue": torch.rand(8, 16), "module.label_queue": torch.zeros(16).long()},
    },
    "converted": lambda b, h: {"state_dict": under("module.encoder_q.", b, h) | under("module.student.", noise(b), h)},
    "supervised": lambda b, h: {"epoch": 90, "best_acc1": torch.tensor(7.0), "state_dict": under("module.", b, h)},
    "decoupling": lambda b, h: {
        "state_dict_best": {"feat_model": under("module.", b), "classifier": under("module.", h)}
    },
    "simclr": lambda b, h: {"model": under("module.module.module.", b, h)},
    "swav": lambda b, h: (
        under("module.", b)
        | {k.replace("fc.", "module.projection_head."): v for k, v in h.items()}
        | {"module.prototypes.weight": torch.rand(4, 8)}
    ),
    "seed": lambda b, h: {
        "arch": ARCH,
        "state_dict": under("module.student.", b, h)
        | under("module.teacher.", noise(b), h)
        | {"module.queue": torch.rand(8, 16), "module.small_queue": torch.rand(8, 16)},
    },
    "seed on one GPU": lambda b, h: {"state_dict": under("student.", b, h) | under("teacher.", noise(b), h)},
    "ensemble": lambda b, h: {
        "start_epoch": 3,
        "model": under("module.teacher_encoder.", b, h) | under("module.student_encoder.", noise(b), h),
    },
    "ensemble on one GPU": lambda b, h: {
        "model": under("teacher_encoder.", b, h) | under("student_encoder.", noise(b), h)
    },
    "moco v3": lambda b, h: {
        "arch": ARCH,
        "state_dict": under("module.base_encoder.", b, h)
        | under("module.momentum_encoder.", noise(b), h)
        | under("module.predictor.", h),
    },
    "simsiam": lambda b, h: {"state_dict": under("module.encoder.", b, h) | under("module.predictor.", h)},
    "barlow twins": lambda b, h: {"model": under("module.backbone.", b) | under("module.projector.", h)},
    "dino": lambda b, h: {
        "student": under("module.backbone.", noise(b)) | under("module.head.", h),
        "teacher": under("backbone.", b) | under("head.", h),
        "dino_loss": {"center": torch.rand(1, 8)},
        "args": argparse.Namespace(arch="vit_small"),
    },
    "dino in one state": lambda b, h: {
        "state_dict": under("model.student.backbone.", noise(b)) | under("model.teacher.backbone.", b)
    },
    "a teacher alone": lambda b, h: {"teacher": under("backbone.", b) | under("dino_head.", h)},
    "lightning": lambda b, h: {
        "pytorch-lightning_version": "2.5.0",
        "state_dict": under("model.", b, h) | {"criterion.weight": torch.rand(3), "train_acc.total": torch.rand(1)},
        "loops": {"fit_loop": {"state_dict": {}}},
    },
    "moco in lightning": lambda b, h: {
        "pytorch-lightning_version": "2.5.0",
        "state_dict": under("model.encoder_q.", b) | under("model.encoder_k.", noise(b)),
    },
    "solo-learn": lambda b, h: {
        "pytorch-lightning_version": "2.1.2",
        "state_dict": under("backbone.", b)
        | under("momentum_backbone.", noise(b))
        | {f"{part}.0.weight": torch.rand(4, 4) for part in ("projector", "momentum_projector", "predictor")}
        | {"classifier.weight": torch.rand(10, WIDTH), "queue": torch.rand(2, 8, 16)},
    },
    "solo-learn without momentum": lambda b, h: {
        "state_dict": under("backbone.", b) | {"projector.0.weight": torch.rand(4), "classifier.weight": torch.rand(9)}
    },
    "simclr of sthalles": lambda b, h: {
        "epoch": 200,
        "arch": ARCH,
        "state_dict": under("backbone.", b, h),
        "optimizer": {},
    },
    "simclr-pytorch": lambda b, h: {"state_dict": b | {"fc.weight": torch.rand(9, WIDTH), "fc.bias": torch.rand(9)}},
    "sdclr": lambda b, h: {
        "epoch": 500,
        "state_dict": under("module.", b)
        | {f"module.fc.{part}.weight": torch.rand(4, 4) for part in ("fc1", "bn1", "fc2", "bn2")},
        "optim": {},
    },
    "compiled": lambda b, h: under("_orig_mod.", b, h),
    "compiled for several processes": lambda b, h: {"model": under("module._orig_mod.", b, h)},
    "compiled inside": lambda b, h: {"state_dict": under("model._orig_mod.", b, h)},
    "compiled encoders": lambda b, h: {"state_dict": under("module.encoder_q._orig_mod.", b, h)},
    "an average alone": lambda b, h: under("module.", b) | {"n_averaged": torch.tensor(3)},
    "timm": lambda b, h: {"arch": ARCH, "state_dict": b, "state_dict_ema": under("module.", noise(b))},
    "library": lambda b, h: b | {"fc.weight": torch.rand(10, WIDTH), "fc.bias": torch.rand(10)},
    "library in a box": lambda b, h: {"model": b | {"head.weight": torch.rand(10, WIDTH)}},
    "ours": lambda b, h: {
        "step": 3,
        "recipe": {"arch": ARCH, "method": "moco"},
        "method": under("online.backbone.", b)
        | under("target.backbone.", noise(b))
        | {"queue.rows": torch.rand(16, 8)},
    },
    "our simclr": lambda b, h: {
        "recipe": {"arch": ARCH, "method": "simclr"},
        "method": under("online.backbone.", b) | {"online.head.0.weight": torch.rand(4, WIDTH)},
    },
    "our swav": lambda b, h: {
        "recipe": {"arch": ARCH, "method": "swav"},
        "method": under("online.backbone.", b)
        | {"online.head.0.weight": torch.rand(4, WIDTH), "prototypes.weight": torch.rand(9, 4)}
        | {"assigner.queue.rows": torch.rand(8, 2, 4), "assigner.queue.head": torch.tensor(0)},
    },
    "our dino": lambda b, h: {
        "recipe": {"arch": ARCH, "method": "dino"},
        "method": under("target.backbone.", b) | under("online.backbone.", noise(b)) | {"center": torch.rand(4)},
    },
    "our teacher": lambda b, h: {
        "recipe": {"arch": ARCH, "method": "sts"},
        "method": under("target.backbone.", b) | under("online.backbone.", noise(b)),
    },
}
