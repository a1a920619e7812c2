"""The tasks `linear` and `transfer`: a classifier on a fixed network, trained by one of the published protocols."""

import dataclasses
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from ...shards.errors import UserError
from ...shards.manifest import Manifest
from ..checkpoints.files import load_file
from ..checkpoints.layouts import read
from ..data import Sets
from ..recipes.options import Supervised
from ..training.options import Run
from ..training.run import pretrain
from ..training.setup import training_plan
from . import shots
from .labels import drawn, grouping, summary
from .model import EvaluatedModel, Results
from .options import Linear, Shots, Transfer
from .samples import some

TESTED_EVERY = {"sts_linear": 10, "sts_linear_byol": 10}  # epochs; the other programs test after each one
CLASSES = {"cifar10": 10, "cifar100": 100, "caltech101": 101}


def measure(options: Linear, model: EvaluatedModel) -> Results:
    recipe = recipe_of(options, model)
    train, val = model.open_pair(options, "a classifier")  # data that do not fit are an error before the training
    draws, counts = list(drawn(options, train)), grouping(options, model, train)  # so are labels that do not
    model.compare(train, val, quiet=True)  # the run of the probe warns
    model.features(some(val, options.batch_size), recipe.test_views)  # so is a network without finite features
    out, found = folder_of(options, model, train), []
    for number, rows in enumerate(draws):
        data = train.take(rows, train.label[rows], train.info.classes) if options.few else train
        folder = out / f"draw-{number}" if options.few else out
        found.append(dict(_probed(options, model, recipe, data, val, counts, folder)))
    yield from summary(found)


def _probed(
    options: Linear, model: EvaluatedModel, recipe: Supervised, data: Manifest, val: Manifest, counts: Tensor, out: Path
) -> Results:
    """The numbers of a classifier that is trained on `data` in the folder `out`, or continued there."""
    common: dict[str, Any] = {f.name: getattr(options, f.name) for f in dataclasses.fields(Sets)}
    common["device"] = options.device
    if recipe.trained == "all":
        _require_start(out / "last.pt")
    run = Run(
        **common,
        out=str(out),
        resume="auto",
        pretrained=options.checkpoint,
        network=options.network,
        ema=options.ema,
        eval_every=options.eval_every or TESTED_EVERY.get(options.name, 1),
        on_error=options.on_error,
        threads=options.threads,
        watchdog=options.watchdog,
    )
    last = pretrain(recipe, run, data=data) / "last.pt"
    steps = len(training_plan(recipe, data)) // recipe.accumulate * recipe.epochs
    saved = load_file(last)
    if saved.get("measured", saved["step"]) < steps:  # older checkpoints do not say whether they were measured
        raise UserError(
            f"the probe was stopped after step {saved['step']} of {steps}, before its last test: the same command "
            f"continues it"
        )
    if recipe.trained == "classifier":
        _require_unchanged(model, last, statistics=recipe.frozen_bn == "eval")
    yield "best top1", float(saved["best"])
    test = Shots(
        **common,
        checkpoint=str(last),
        size=model.size,
        test_views=recipe.test_views,
        batch_size=options.batch_size,
        precision=options.precision,
        rule=options.rule,
    )
    yield from shots.tested(test, EvaluatedModel(test, model.device, model.facts), val, counts)


def measure_transfer(options: Transfer, model: EvaluatedModel) -> Results:
    data = options.training()
    if (classes := len(data.info.classes)) != CLASSES[options.dataset]:
        raise UserError(
            f"{options.dataset} has {CLASSES[options.dataset]} classes, {data.root} has {classes}: name its --dataset; "
            f"other data sets take --task linear --protocol transfer"
        )
    yield from measure(options, model)


def folder_of(options: Linear, model: EvaluatedModel, train: Manifest) -> Path:
    """The folder of the probe's run; by default each checkpoint and network has one of its own."""
    which = [model.path.stem] * (model.path.name != "last.pt") + [options.network] * (options.network != "auto")
    which += ["ema"] * options.ema + [options.few] * bool(options.few)
    return Path(options.out or model.path.with_name("-".join([options.name, train.info.name, *which])))


def recipe_of(options: Linear, model: EvaluatedModel) -> Supervised:
    """The recipe for this network, changed by the options."""
    recipe = options.published()
    changes: dict[str, object] = {"arch": model.arch, "stem": model.stem, "size": model.size}
    changes |= {
        "batch_size": options.batch_size,
        "lr": options.lr or recipe.lr * options.batch_size / recipe.batch_size,
    }
    epochs = options.epochs or recipe.epochs
    changes |= {"epochs": epochs, "bias": options.bias}
    if recipe.schedule == "step":  # at the same shares of the run
        changes |= {"milestones": tuple(round(epoch * epochs / recipe.epochs) for epoch in recipe.milestones)}
    changes |= {"bn_groups": options.bn_groups or recipe.bn_groups, "precision": options.precision}
    changes |= {"frozen_bn": recipe.frozen_bn if options.frozen_bn == "protocol" else options.frozen_bn}
    changes |= {"blocks": recipe.blocks if options.blocks == "protocol" else options.blocks}
    changes |= {"views": options.views or recipe.views, "test_views": options.test_views or recipe.test_views}
    return dataclasses.replace(recipe, **changes)  # pyright: ignore[reportArgumentType]


def _require_start(last: Path) -> None:
    """UserError for a probe of the whole network by an earlier version: its numbers may be those of any checkpoint."""
    if last.exists() and load_file(last).get("start") is None:
        raise UserError(
            f"{last} does not say which checkpoint it began with, because an earlier version wrote it: "
            f"remove {last.parent}, or give another --out"
        )


def _require_unchanged(model: EvaluatedModel, path: Path, *, statistics: bool) -> None:
    """UserError unless the weights of the probe's backbone, and BatchNorm's `statistics`, equal those of the evaluated
    one, bit for bit."""
    before = model.net.state_dict() if statistics else dict(model.net.named_parameters())
    after = read(path).network()
    moved = [name for name, value in before.items() if not torch.equal(value.cpu(), after[name])]
    if moved:
        raise UserError(
            f"the probe changed {len(moved)} entries of the backbone, {moved[0]} first: its numbers do not describe "
            f"the checkpoint; this is a defect, or {path} is of another --checkpoint: give a new --out"
        )
