"""Build the parts of a run from its recipe and options."""

import dataclasses
import math
from pathlib import Path
from typing import Any

import torch

from ...augment.recipes import views_of
from ...augment.spec import Views
from ...pipeline.batch import Loader, SampleReader
from ...pipeline.plan.order import Plan
from ...pipeline.plan.orders import Balanced, WindowShuffle
from ...pipeline.plan.versions import VERSION
from ...shards.errors import UserError, needs
from ...shards.files import writing
from ...shards.manifest import Manifest
from ..checkpoints.files import content_digest
from ..checkpoints.manager import TrainState
from ..checkpoints.pretrained import load_pretrained
from ..loaders import loading
from ..methods.build import build, check
from ..methods.method import Method
from ..methods.supervised import takes_statistics
from ..ranks import rank, world_size
from ..recipes.options import Recipe, Supervised
from .compiling import compiled
from .folder import on_all
from .loggers import CsvLogger, MetricLogger, TensorBoardLogger, WandbLogger
from .online import OnlineProbe
from .optim import optimizer_of
from .options import Run
from .precision import precision


def training_plan(recipe: Recipe, data: Manifest, version: int = VERSION) -> Plan:
    """The order of the training images, in parts of a batch. Supervised training keeps an epoch's last, smaller batch,
    other methods drop it. UserError for options that exclude each other or a set smaller than a batch."""
    order = WindowShuffle(data.shard, recipe.window, version) if recipe.order == "blocks" else None
    if isinstance(recipe, Supervised) and recipe.balanced:
        if order:
            raise UserError("--balanced and --order blocks are two orders: choose one")
        order = Balanced(data.label, recipe.bal_repeat, version)
    more: dict[str, Any] = {"parts": recipe.accumulate, "version": version}
    if isinstance(recipe, Supervised):
        more |= {"tail": "pad", "multiple": last_batch(recipe, len(data))}
    return Plan(len(data), recipe.batch_size, world_size(), rank(), recipe.seed, order=order, **more)


def last_batch(recipe: Supervised, samples: int) -> int:
    """The number that the length of an epoch's last batch is a multiple of: ranks, parts and groups of BatchNorm
    statistics get equal shares, and no rank takes statistics of one image."""
    shares = world_size() * recipe.accumulate
    multiple = math.lcm(shares, recipe.bn_groups)
    alone = samples % recipe.batch_size <= multiple == shares and takes_statistics(recipe)
    return 2 * multiple if alone else multiple


def training_loader(
    recipe: Recipe,
    run: Run,
    data: Manifest,
    device: torch.device,
    views: Views | None = None,
    reader: SampleReader | None = None,
    version: int = VERSION,
) -> Loader:
    """The loader of the training views: `views` or those that the recipe names, through `reader` or the one of `run`.
    `version` is that of the order.

    UserError for a recipe that does not fit the data or the ranks.
    """
    views = views or views_of(recipe.views, recipe.size)
    plan = training_plan(recipe, data, version)
    check(recipe, views, data)
    skip, dtype = run.on_error == "skip", precision(recipe, device)
    compile = "on" if compiled(run, device) else "off"
    return loading(data, plan, views, run, device, dtype, compile=compile, skip=skip, reader=reader)


def training_state(recipe: Recipe, run: Run, data: Manifest, device: torch.device, *, fresh: bool) -> TrainState:
    """Method, optimizer and scaler on the device; a fresh run takes the weights that `run` names."""
    method = build(recipe, len(data.info.classes))
    if fresh:
        load_pretrained(method, recipe, run.pretrained, run.teacher, run.network, data.info.classes, ema=run.ema)
    method = method.to(device, memory_format=torch.channels_last)  # pyright: ignore[reportCallIssue]
    scaler = torch.amp.GradScaler(device.type, enabled=precision(recipe, device) == torch.float16)
    return TrainState(method, optimizer_of(method, recipe), scaler)


def online_probe(recipe: Recipe, run: Run, data: Manifest, method: Method) -> OnlineProbe | None:
    """The classifier that --online linear trains along; None without it. UserError for options that do nothing."""
    if not run.online:
        raise UserError("--online names nothing to measure: give knn, linear or rankme, or several with commas")
    if run.online != ("knn",) and not run.eval_every:
        raise UserError("--online is measured every --eval-every epochs: name those too")
    if run.online != ("knn",) and isinstance(recipe, Supervised):
        raise UserError("--online measures features, supervised training is measured by its classifier: leave it out")
    if "linear" not in run.online:
        return None
    data.require_labels("--online linear")
    return OnlineProbe(method, len(data.info.classes))


def takes_parts(recipe: Recipe, data: Manifest, views: Views | None) -> bool:
    """Whether the recipe's method takes a batch in twice as many parts."""
    finer = dataclasses.replace(recipe, accumulate=2 * recipe.accumulate)
    try:
        check(finer, views or views_of(recipe.views, recipe.size), data)
    except UserError:
        return False
    return True


def metadata_of(recipe: Recipe, run: Run, data: Manifest, val: Manifest | None, views: Views | None) -> dict[str, Any]:
    """What a checkpoint says about its run besides the weights: recipe, sets, decoder, classes, what it began with.

    `start` has the digests of the files and the choice of their network; `classes` the names and training images."""
    named = {} if views is None else {"views": repr(views)}
    files = {"pretrained": run.pretrained, "teacher": run.teacher}
    digests = {role: content_digest(Path(file)) for role, file in files.items() if file}
    return {
        "recipe": dataclasses.asdict(recipe) | named,
        "data": identity(data),
        "val": {} if val is None else identity(val),
        "decode": run.decode,
        "start": digests | ({"network": run.network, "ema": run.ema} if digests else {}),
        "classes": {"names": list(data.info.classes), "counts": list(data.counts)},
    }


def identity(manifest: Manifest) -> dict[str, Any]:
    """Facts about a data set. The identity decides; the others say what differs, also to earlier versions."""
    facts = {"name": manifest.info.name, "samples": len(manifest), "uids": manifest.uids}
    return facts | {"classes": len(manifest.info.classes), "identity": manifest.identity}


def checkpoint_to_resume(resume: str, folder: Path) -> Path | None:
    """The checkpoint that --resume names, or None for a new run. UserError if a new run would overwrite another."""
    last = folder / "last.pt"
    begun = on_all(last)
    if resume == "auto":
        return last if begun else None
    if begun and (not resume or Path(resume).resolve() != last.resolve()):
        raise UserError(f"{folder} already holds a run: --resume auto continues it, --out starts another")
    return Path(resume) if resume else None


def require_loggers(run: Run) -> None:
    """UserError if a logger that `run` asks for is not installed."""
    for package, wanted in (("tensorboard", run.tensorboard), ("wandb", run.wandb)):
        if wanted:
            needs(package)


def metric_loggers(run: Run, folder: Path, config: dict[str, Any], step: int) -> tuple[MetricLogger, ...]:
    """The loggers that `run` asks for, to go on after `step` steps; only rank 0 has any."""
    if rank():
        return ()
    with writing(folder):
        chosen = {"recipe": config["recipe"], "run": dataclasses.asdict(run)}
        board = (TensorBoardLogger(folder, step, chosen),) if run.tensorboard else ()
        table = (CsvLogger(folder, step),) if run.csv else ()
    return (*table, *board, *((WandbLogger(folder, run.wandb, config),) if run.wandb else ()))
