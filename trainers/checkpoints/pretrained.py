"""Begin a new run with the weights of another checkpoint, or SEED with its teacher. All ranks read the same files."""

import logging
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from torch import nn

from ...shards.errors import UserError
from ..methods.byol import BYOL
from ..methods.dino import DINO
from ..methods.method import Method
from ..methods.moco import MoCo
from ..methods.parts import ema_
from ..methods.seed import SEED
from ..methods.supervised import Supervised
from ..ranks import rank
from ..recipes import options
from ..recipes.options import Recipe
from .layouts import read
from .loading import Loaded, load_backbone, load_encoder
from .restart import restart

LOG = logging.getLogger(__name__)


def load_pretrained(
    method: Method,
    recipe: Recipe,
    pretrained: str,
    teacher: str,
    network: str,
    classes: Sequence[str] = (),
    *,
    ema: bool = False,
) -> None:
    """Fill the freshly initialized `method` from the checkpoints `pretrained` and `teacher`.

    `network`: which network of a checkpoint with two; `classes`: names of those that a classifier will learn; `ema`:
    the averaged weights of a file that holds them beside the others. UserError for a file that is missing, not needed
    or does not fit.
    """
    if isinstance(method, SEED):
        if not teacher:
            raise UserError(
                "seed imitates a teacher: name its checkpoint with --teacher, its network with --teacher-arch"
            )
        loaded = load_encoder(method.teacher, Path(teacher), which=network, ema=ema)  # pyright: ignore[reportArgumentType]
        _report("teacher", loaded)
    elif teacher:
        raise UserError(f"{recipe.method} has no teacher from a file: leave out --teacher")
    if network != "auto" and not pretrained and not teacher:
        raise UserError(f"--network {network} chooses among a checkpoint's networks: name it with --pretrained")
    if ema and not pretrained and not teacher:
        raise UserError("--ema takes the averaged weights of a checkpoint: name it with --pretrained")
    if pretrained:
        _report("pretrained", _pretrained(method, recipe, Path(pretrained), network, classes, ema))
    elif isinstance(recipe, options.Supervised) and recipe.trained == "classifier":
        raise UserError("a classifier on an untrained network measures little: name a checkpoint with --pretrained")


def _pretrained(method: Method, recipe: Recipe, path: Path, network: str, classes: Sequence[str], ema: bool) -> Loaded:
    match method:
        case MoCo() if network != "auto":
            raise UserError(f"{recipe.method} begins with both networks of a checkpoint: leave out --network")
        case MoCo():  # and KCL
            return restart(method, path, ema=ema)
        case BYOL() | DINO():  # and STS, M2T
            loaded = load_backbone(method.online.get_submodule("backbone"), path, which=network, ema=ema)
            ema_(method.target, method.online, 0.0)
        case Supervised():
            loaded = load_backbone(method.online.backbone, path, which=network, ema=ema)
            assert isinstance(recipe, options.Supervised)
            if not recipe.fresh:
                _name_the_best(path)
                return _with_classifier(method.online.head, path, loaded, network, classes, ema)
        case _:
            loaded = load_backbone(method.backbone, path, which=network, ema=ema)
    return loaded


def _with_classifier(
    head: nn.Module, path: Path, loaded: Loaded, network: str, classes: Sequence[str], ema: bool
) -> Loaded:
    """Fill the classifier as well, if the checkpoint has one of the same shape, as second stages of BalFeat do: also if
    it is of other classes, which a note says."""
    weights = read(path, ema=ema)
    saved, own = weights.head(network), head.state_dict()
    kept = {name: saved[name] for name in own if name in saved and saved[name].shape == own[name].shape}
    head.load_state_dict(kept, strict=False)
    if kept and weights.classes.get("names", [*classes]) != [*classes] and not rank():
        LOG.info(f"note: the classifier of {path}, which this one begins with, is of other classes")
    names = [f"fc.{name}" for name in kept]
    dropped = [name for name in loaded.dropped if name not in names]
    return replace(loaded, kept=loaded.kept + names, dropped=dropped)


def _name_the_best(path: Path) -> None:
    """Note that BalFeat's second stages begin with the best checkpoint of the first, if `path` is the last one."""
    if path.name == "last.pt" and not rank():
        LOG.info(f"note: the program begins a second stage with best.pt, the best checkpoint of the first, not {path}")


def _report(role: str, loaded: Loaded) -> None:
    if not rank():
        LOG.info(f"{role}: {loaded}")
