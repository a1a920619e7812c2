"""Methods from recipes, and the checks that a recipe fits its views, data and ranks."""

from ...augment.spec import Views, size_of
from ...shards.errors import UserError
from ...shards.manifest import Manifest
from ..nets.encoder import Encoder, backbone, encoder, seeded
from ..recipes import options
from ..recipes.options import Recipe
from . import byol, kcl, m2t, moco, seed, sts, supervised
from .parts import check_groups
from .protocol import Method


def method_of(recipe: Recipe, classes: int = 0) -> Method:
    """The method; the target set has `classes` classes. Weights are a function of the recipe's seed."""
    seeded(recipe.seed)
    match recipe:
        case options.MoCo():  # and KCL
            how = {"dim": recipe.dim, "queue": recipe.queue, "momentum": recipe.key_momentum,
                   "temperature": recipe.temperature, "bn_groups": recipe.bn_groups}  # fmt: skip
            net = encoder(recipe.arch, recipe.head, recipe.dim, stem=recipe.stem)
            if not isinstance(recipe, options.KCL):
                return moco.MoCo(net, **how)
            chosen = {"posk": recipe.posk, "pick": recipe.pick, "losstype": recipe.losstype, "sump": recipe.sump}
            return kcl.KCL(net, **how, **chosen, tgt_avg=recipe.tgt_avg, batch=recipe.batch_size)
        case options.BYOL():  # and STS, M2T
            return _byol(recipe)
        case options.SEED():
            student = encoder(recipe.arch, recipe.head, recipe.dim, stem=recipe.stem)
            teacher = encoder(recipe.teacher_arch, recipe.teacher_head, recipe.dim)
            return seed.SEED(
                student, teacher, dim=recipe.dim, queue=recipe.queue, temperature=recipe.temperature,
                teacher_temperature=recipe.teacher_temperature, bn_groups=recipe.bn_groups,
                patches=recipe.views == "seed_patches",
            )  # fmt: skip
        case options.Supervised():
            body, width = backbone(recipe.arch, stem=recipe.stem)
            frozen = recipe.trained == "classifier"
            small = frozen or recipe.classifier == "normalized"
            last = supervised.classifier(recipe.classifier, width, classes, bias=recipe.bias, small=small)
            groups = recipe.bn_groups if _takes_statistics(recipe) else 0
            net = Encoder(body, last)
            return supervised.Supervised(net, frozen=frozen, frozen_bn=recipe.frozen_bn, bn_groups=groups)
    raise AssertionError(recipe)


def check(recipe: Recipe, views: Views, data: Manifest) -> None:
    """UserError, before anything is built, for a recipe that does not fit its views, its data or the ranks."""
    _views(recipe, views)
    if isinstance(recipe, options.Supervised | options.KCL):
        data.require_labels(recipe.method)
    if isinstance(recipe, options.Grouped) and _takes_statistics(recipe):
        check_groups(recipe.bn_groups, recipe.batch_size)
    if isinstance(recipe, options.MoCo | options.SEED):
        _queue(recipe, len(data))
    if recipe.accumulate > 1:
        _parts(recipe)


def _takes_statistics(recipe: options.Grouped) -> bool:
    """Not so a linear classifier on a network in eval mode, whose batch may have any size."""
    if not isinstance(recipe, options.Supervised) or recipe.classifier == "batchnorm":
        return True
    return recipe.trained == "all" or recipe.frozen_bn == "train"


def _views(recipe: Recipe, views: Views) -> None:
    sizes = [size_of(view) for view in views]
    match recipe:
        case options.SEED():
            fits, wanted = len(set(sizes[1:])) <= 1, "one view, or one and small ones of one size"
        case options.Supervised():
            fits, wanted = len(sizes) == 1, "one view"
        case _:
            fits, wanted = len(sizes) == 2 and sizes[0] == sizes[1], "two views of one size"
    if not fits:
        raise UserError(f"--views {recipe.views} makes views of {sizes} px: {recipe.method} takes {wanted}")


def _queue(recipe: options.MoCo | options.SEED, samples: int) -> None:
    if recipe.queue % recipe.batch_size:
        raise UserError(
            f"a queue of {recipe.queue} rows cannot be filled by global batches of {recipe.batch_size}: "
            f"make --batch-size divide --queue"
        )
    if recipe.queue > samples:
        raise UserError(
            f"a queue of {recipe.queue} rows would hold images of a set of {samples} more than once, each its own "
            f"negative: lower --queue"
        )


def _parts(recipe: Recipe) -> None:
    if isinstance(recipe, options.MoCo | options.SEED):
        raise UserError(
            f"--accumulate {recipe.accumulate} does not go with {recipe.method}: its queue takes a whole batch of keys "
            f"a step, made by one key encoder; lower --batch-size and --lr"
        )
    if isinstance(recipe, options.M2T):
        raise UserError(
            f"--accumulate {recipe.accumulate} does not go with m2t: its teacher's BatchNorm pairs the two passes of a "
            f"step; lower --batch-size and --lr"
        )
    if recipe.batch_size % recipe.accumulate:
        raise UserError(f"--accumulate {recipe.accumulate} does not divide a batch of {recipe.batch_size}")


def _byol(recipe: options.BYOL) -> Method:
    def student() -> Encoder:
        body, width = backbone(recipe.arch, stem=recipe.stem)
        return Encoder(body, byol.projector(width, recipe.hidden, recipe.dim))

    online, predictor = student(), byol.predictor(recipe.dim, recipe.hidden)
    match recipe:
        case options.STS():
            other = student() if recipe.initial_copy == "coin" else None
            return sts.STS(
                online, predictor, momentum=recipe.key_momentum, preserve=recipe.preserve,
                granularity=recipe.granularity, target=other, seed=recipe.seed,
            )  # fmt: skip
        case options.M2T():
            return m2t.M2T(online, predictor, momentum=recipe.key_momentum, bn_groups=recipe.bn_groups)
    return byol.BYOL(online, predictor, momentum=recipe.key_momentum)
