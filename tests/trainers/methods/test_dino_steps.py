"""Whole training steps of DINO equal those recorded from the original program."""

import pytest
import timm
import torch
from torch import nn

from viewstream.trainers.methods.dino import DINO
from viewstream.trainers.methods.dino_parts import epoch
from viewstream.trainers.methods.method import Now
from viewstream.trainers.methods.multicrop import MultiCrop
from viewstream.trainers.nets.dino_head import Head
from viewstream.trainers.nets.vit import any_size
from viewstream.trainers.ranks import gather, rank, world_size
from viewstream.trainers.recipes import options
from viewstream.trainers.training.optim import optimizer_of, schedule

from .steps import batch_of, distributed

# Gradients of these are rounding alone (a bias before BatchNorm, the bias of keys), which AdamW makes into steps.
ROUNDING = ("mlp.0.bias", "mlp.3.bias", "attn.qkv.bias")


class Conv(nn.Module):
    """The recorded encoder with BatchNorm, under its own names."""

    def __init__(self):
        super().__init__()
        self.conv, self.bn = nn.Conv2d(1, 5, 3, padding=1, bias=False), nn.BatchNorm2d(5)

    def forward(self, x):
        return self.bn(self.conv(x)).relu().mean((2, 3))


def vit():
    """The recorded ViT for images of 12 px."""
    shape = {"img_size": 12, "patch_size": 4, "in_chans": 1, "embed_dim": 4, "depth": 1, "num_heads": 2, "mlp_ratio": 2}
    return any_size(timm.models.vision_transformer.VisionTransformer(**shape, num_classes=0))


def recipe_of(g):
    return options.DINO(
        epochs=int(g["epochs"]),
        lr=float(g["base_lr"]),
        lr_end=float(g["min_lr"]),
        schedule="warmcos-closed",
        warmup_epochs=int(g["warmup_epochs"]),
        weight_decay=float(g["wd0"]),
        weight_decay_end=float(g["wd1"]),
        key_momentum=float(g["m0"]),
        center_momentum=float(g["center_momentum"]),
        temperature=float(g["student_temp"]),
        teacher_temperature=float(g["teacher_temp_schedule"][-1]),
        teacher_warmup_temperature=float(g["teacher_temp_schedule"][0]),
        teacher_warmup_epochs=int((g["teacher_temp_schedule"] < g["teacher_temp_schedule"][-1]).sum()) + 1,
        freeze_last=int(g["freeze_last_layer"]),
        clip=float(g["clip_grad"]),
        fixed_norm=bool(g["norm_last_layer"]),
        head_bn=bool(g["use_bn_in_head"]),
        drop_path=0.0,
        dim=7,
    )


def stage(g, name, number):
    return {k.split("/", 1)[1]: v[number] for k, v in g.items() if k.startswith(f"{name}/")}


def grown(net):
    """A network's state but for BatchNorm's counters."""
    return {k: v for k, v in net.state_dict().items() if "tracked" not in k}


def close(ours, expected):
    for key, value in ours.items():
        atol = 1e-6 if key.endswith(ROUNDING) else 1e-8
        torch.testing.assert_close(
            value.detach(), expected[key], rtol=0, atol=atol, msg=lambda m, key=key: f"{key}: {m}"
        )


def check_steps(g):
    """Take the recorded steps on this rank, and compare each of them."""
    recipe = recipe_of(g)
    body, width = (Conv(), 5) if recipe.head_bn else (vit(), 4)
    head = Head(width, 7, hidden=6, dim=4, norm=recipe.head_bn, fixed=recipe.fixed_norm)
    method = DINO(MultiCrop(body, head), recipe).double().train()
    for net, name in ((method.online, "student"), (method.target, "teacher")):
        net.load_state_dict(stage(g, name, 0), strict=False)
    assert grown(method.online).keys() == stage(g, "student", 0).keys()
    names = {id(p): name for name, p in method.online.named_parameters()}
    optimizer, module = optimizer_of(method, recipe), distributed(method)
    decayed, spared = ({names[id(p)] for p in group["params"]} for group in optimizer.param_groups)
    assert (decayed, spared) == (set(g["regularised"]), set(g["not_regularised"]))
    per_epoch = int(g["iters_per_epoch"])
    lr, total = schedule(recipe, per_epoch), recipe.epochs * per_epoch
    for step in range(total):
        now = Now(step, total, 0)
        assert epoch(recipe, now) == step // per_epoch
        for group in optimizer.param_groups:
            group["lr"] = lr(step)
        method.before_step(now)
        optimizer.zero_grad()
        views = [*g["crops_global"][step, rank()].double(), *g["crops_local"][step, rank()].double()]
        loss, _ = module(batch_of(*views), now)
        torch.testing.assert_close(gather(loss.detach()[None]).mean(), g["loss"][step].mean(), rtol=0, atol=1e-9)
        if g["loss"].shape[1] == world_size():
            torch.testing.assert_close(loss.detach(), g["loss"][step, rank()], rtol=0, atol=1e-9)
        loss.backward()
        if step == 0:
            close({names[id(p)]: p.grad for p in method.online.parameters() if p.requires_grad}, grad(g))
        optimizer.step()
        method.after_step(now)
        used = [[group[key] for group in optimizer.param_groups] for key in ("lr", "weight_decay")]
        for ours, name in zip(used, ("lr_used", "wd_used"), strict=True):
            assert ours == pytest.approx(g[name][step].tolist(), abs=1e-12)
        close({"center": method.center}, {"center": g["center"][step + 1].flatten()})
        close(grown(method.online), stage(g, "student", step + 1))
        close(grown(method.target), stage(g, "teacher", step + 1))


def grad(g):
    return {k.removeprefix("grad_step0/"): v for k, v in g.items() if k.startswith("grad_step0/")}


@pytest.mark.parametrize("name", ["dino_steps_vit_w1", "dino_steps_conv_w1"])
def test_four_training_steps_equal_the_recorded_ones(name, golden):
    """crops_global [S, R, 2, N, 1, h, w], crops_local [S, R, 6, N, 1, h, w]; states before and after each step."""
    check_steps(golden(name))


@pytest.mark.full
def test_three_ranks_with_an_image_each_take_the_recorded_steps_of_one(golden, on_ranks):
    """The loss of the recorded step is the mean of theirs; parameters, teacher and center are the recorded ones."""
    g = golden("dino_steps_vit_w1")
    crops = {k: torch.cat(g[k].chunk(3, dim=3), dim=1) for k in ("crops_global", "crops_local")}  # [S, 3, V, 1, ...]
    on_ranks(check_steps, 3, g | crops)
