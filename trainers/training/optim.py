"""Optimizers, and learning-rate schedules as pure functions of the epoch or of the step."""

from collections.abc import Callable
from typing import Any

import torch
from torch import nn

from ..methods.method import Method
from ..recipes.options import Recipe
from ..schedules import half_cosine
from .larc import LARC
from .lars import LARS, groups_of


def optimizer_of(method: nn.Module, recipe: Recipe) -> torch.optim.Optimizer:
    """The optimizer of everything that takes gradients, BatchNorm and biases included, as in all the releases; each of
    its steps calls the method's `before_update` first."""
    optimizer = _named(method, recipe)
    if recipe.spares_vectors:
        spare_vectors(optimizer)
    if isinstance(method, Method):
        optimizer.register_step_pre_hook(lambda optimizer, *_: method.before_update(optimizer))
    return optimizer


def spare_vectors(optimizer: torch.optim.Optimizer) -> None:
    """Move the biases and other parameters of one dimension out of the only group, into one without weight decay."""
    (group,) = optimizer.param_groups
    group["params"], vectors = (
        [p for p in group["params"] if p.dim() > 1],
        [p for p in group["params"] if p.dim() < 2],
    )
    optimizer.add_param_group({"params": vectors, "weight_decay": 0.0})


def _named(method: nn.Module, recipe: Recipe) -> torch.optim.Optimizer:
    if recipe.optimizer == "sgd":
        return sgd(method, recipe.lr, recipe.momentum, recipe.weight_decay)
    decay: dict[str, Any] = {"momentum": recipe.momentum, "weight_decay": recipe.weight_decay}
    if recipe.optimizer == "lars":
        return LARS(groups_of(method), recipe.lr, **decay)
    if recipe.optimizer == "lars-simclr":
        return LARS(groups_of(method, others_decay=False), recipe.lr, **decay, joint=True)
    if recipe.optimizer == "larc":
        return LARC(_trained(method), recipe.lr, **decay)
    weights, kind = _trained(method), torch.optim.Adam if recipe.optimizer == "adam" else torch.optim.AdamW
    return _own_kernels(kind(weights, recipe.lr, weight_decay=recipe.weight_decay, fused=_fused(weights)))


def sgd(method: nn.Module, lr: float, momentum: float, weight_decay: float) -> torch.optim.Optimizer:
    """SGD without dampening or Nesterov momentum."""
    weights = _trained(method)
    fused = _fused(weights)
    optimizer = torch.optim.SGD(weights, lr, momentum=momentum, weight_decay=weight_decay, fused=fused)
    if fused and momentum:  # torch leaves new ones as it finds the memory if the first step overflows
        for weight in weights:
            optimizer.state[weight]["momentum_buffer"] = torch.zeros_like(weight)
    return _own_kernels(optimizer)


def _fused(weights: list[nn.Parameter]) -> bool | None:
    """True on a GPU: one kernel takes the step, divides by the loss scale, and skips an overflow without the host."""
    return True if weights[0].device.type == "cuda" else None


def _own_kernels(optimizer: torch.optim.Optimizer) -> torch.optim.Optimizer:
    """The optimizer; a checkpoint, which may be of another device, does not change its `fused`."""
    fused = optimizer.defaults["fused"]

    def keep(_: torch.optim.Optimizer, state: dict[str, Any]) -> dict[str, Any]:
        return state | {"param_groups": [group | {"fused": fused} for group in state["param_groups"]]}

    optimizer.register_load_state_dict_pre_hook(keep)
    return optimizer


def _trained(method: nn.Module) -> list[nn.Parameter]:
    return [p for p in method.parameters() if p.requires_grad]


def schedule(recipe: Recipe, per_epoch: int) -> Callable[[int], float]:
    """The learning rate as a function of the optimizer steps already taken; an epoch has `per_epoch` steps."""
    if recipe.schedule.startswith("warmcos"):
        warm, total = recipe.warmup_epochs * per_epoch, recipe.epochs * per_epoch
        rest: tuple[Any, ...] = (total, warm, first_rate(recipe), recipe.lr_end)
        ahead, closed = recipe.schedule == "warmcos-ahead", recipe.schedule == "warmcos-closed"
        return lambda step: warm_cosine(recipe.lr, step + ahead, *rest, closed=closed)
    if recipe.schedule == "cos-late":
        return lambda step: recipe.lr * half_cosine(max(step // per_epoch - 10, 0), per_epoch)
    return lambda step: by_epoch(recipe, step // per_epoch)


def first_rate(recipe: Recipe) -> float:
    """The learning rate at the start of the warm-up; SEED scales only the rate at its end (spec: SEED 10)."""
    return recipe.lr * 256 / recipe.batch_size if recipe.warmup_lr == "per-256" else recipe.warmup_lr


def by_epoch(recipe: Recipe, epoch: int) -> float:
    """The learning rate of a recipe in an epoch. As in SEED, the warm-up does not shift the schedule after it (spec:
    BalFeat and SEED 10)."""
    if epoch < recipe.warmup_epochs:
        return first_rate(recipe) + (recipe.lr - first_rate(recipe)) * epoch / recipe.warmup_epochs
    if recipe.schedule == "cos":
        return cosine(recipe.lr, epoch, recipe.epochs, recipe.lr_end)
    return step(recipe.lr, epoch, recipe.milestones, recipe.step_factor)


def cosine(lr: float, epoch: int, epochs: int, end: float = 0.0) -> float:
    """Cosine from `lr` towards `end`, which the last epoch does not reach (spec: BalFeat 2)."""
    return end + (lr - end) * half_cosine(epoch, epochs)


def step(lr: float, epoch: int, milestones: tuple[int, ...], factor: float = 0.1) -> float:
    """`lr` times `factor` for each milestone passed."""
    return lr * factor ** sum(epoch >= m for m in milestones)


def warm_cosine(
    lr: float, step: int, total: int, warm: int, first: float, end: float = 0.0, *, closed: bool = False
) -> float:
    """Linear from `first` to `lr` in `warm` steps, then a cosine to `end` until `total` (spec: Spatial Ensemble B.7).

    `closed`: the warm-up's last step has `lr` already, as of numpy's linspace (SwAV, DINO).
    """
    if step < warm:
        return first + (lr - first) * step / max(warm - closed, 1)
    return end + (lr - end) * half_cosine(step - warm, max(total - warm, 1))
