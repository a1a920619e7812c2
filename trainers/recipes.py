"""Recipes: one function for every run worth repeating. Its docstring names the published command, number and cost."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Annotated, Literal


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """Which numbers a run computes; saved in its checkpoints, and a resume must match it"""

    method: Annotated[Literal["moco"], "what to train"] = "moco"
    views: Annotated[str, "augmentation recipe (`python tools/look.py --list`)"] = "moco_v2"
    arch: Annotated[str, "backbone, a torchvision or timm name"] = "resnet50"
    head: Annotated[Literal["linear", "mlp"], "projection head"] = "mlp"
    dim: Annotated[int, "size of the embedding", 1] = 128
    size: Annotated[int, "side of a view, px", 8] = 224
    epochs: Annotated[int, "passes over the data", 1] = 200
    batch_size: Annotated[int, "global batch, over all ranks", 1] = 256
    lr: Annotated[float, "learning rate at this batch size; nothing scales it", 0] = 0.03
    schedule: Annotated[Literal["cos", "step"], "learning rate over epochs"] = "cos"
    milestones: Annotated[tuple[int, ...], "epochs at which `step` divides the rate by ten"] = (120, 160)
    momentum: Annotated[float, "of SGD", 0] = 0.9
    weight_decay: Annotated[float, "on all weights", 0] = 1e-4
    queue: Annotated[int, "keys to tell a view from", 1] = 65536
    key_momentum: Annotated[float, "of the key encoder", 0] = 0.999
    temperature: Annotated[float, "of the logits", 1e-4] = 0.2
    bn_groups: Annotated[int, "groups of BatchNorm statistics in the global batch, shuffled for the keys", 1] = 8
    precision: Annotated[Literal["auto", "bf16", "fp32"], "of the forward; auto: bf16 on a GPU, fp32 on the CPU"] = (
        "auto"
    )
    order: Annotated[Literal["shuffled", "blocks"], "of an epoch; blocks: tar after tar, for slow storage"] = "shuffled"
    window: Annotated[int, "tars among which `blocks` mixes", 1] = 8
    seed: Annotated[int, "of order, draws, weights and shuffles"] = 0


def moco_v1() -> Recipe:
    """`main_moco.py -a resnet50`: 60.8 +- 0.2 top-1 linear on ImageNet, 200 epochs, 53 h on 8 V100 (as published)."""
    return Recipe(views="moco_v1", head="linear", temperature=0.07, schedule="step")


def moco_v2() -> Recipe:
    """`main_moco.py -a resnet50 --mlp --moco-t 0.2 --aug-plus --cos`: 67.5 +- 0.1, 200 epochs, 53 h on 8 V100."""
    return Recipe()


RECIPES: dict[str, Callable[[], Recipe]] = {"moco_v1": moco_v1, "moco_v2": moco_v2}
