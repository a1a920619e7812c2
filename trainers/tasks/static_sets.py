"""The tasks on a static augmented set: `instdisc`, `stats` and `tsne`."""

import logging
from pathlib import Path

from ...pipeline.static.listing import listed
from ...shards.care.words import worded
from ...shards.errors import needs
from ..evals import instdisc, stats, tsne
from ..ranks import rank
from .model import EvaluatedModel, Results
from .options import Instdisc, Stats, Tsne

LOG = logging.getLogger(__name__)


def measure_instdisc(options: Instdisc, model: EvaluatedModel) -> Results:
    views, _ = model.views(options.static, options.dataset_mode)
    ranks, ties = instdisc.ranks_and_ties(*instdisc.pair(views, options.mode), gallery=options.gallery)
    skip = options.skip_odd_chunks
    top = instdisc.accuracies(ranks, options.topk, options.samples_per_chunk, skip_odd_chunks=skip, ties=ties)
    if not rank():
        about = {"masked": options.dataset_mode, "checkpoint": options.checkpoint, "data": options.static}
        LOG.info(instdisc.printed(options.mode, top.tolist(), **about))
    yield from instdisc.named(options.mode, top)


def measure_stats(options: Stats, model: EvaluatedModel) -> Results:
    views, labels = model.views(options.static, options.dataset_mode)
    values = dict(stats.stats(views, labels, seed=options.stats_seed))
    if not rank():
        LOG.info(stats.printed(values))
    yield from values.items()


def measure_tsne(options: Tsne, model: EvaluatedModel) -> Results:
    for package in ("sklearn", "matplotlib"):  # before minutes of work
        needs(package)
    names = listed(Path(options.static), options.dataset_mode)[0] if options.static else ()
    names = worded(names, Path(options.words)) if options.words else names
    views, labels = model.views(options.static, options.dataset_mode)
    folder = Path(options.out or Path(options.checkpoint).parent)
    if rank():
        return
    choice = {"perplexity": options.perplexity, "classes": options.classes, "per_class": options.per_class}
    yield from tsne.tsne(views, labels, folder, names=names, title=_title(options, model), **choice)
    LOG.info(f"images and coordinates in {folder}")


def _title(options: Tsne, model: EvaluatedModel) -> str:
    """Run, checkpoint and step; network and data."""
    run, step = model.path.resolve().parent.name, model.weights.step
    at = f"{model.path.name}, step {step:,}" if step else model.path.name
    which = "untrained" if options.untrained else model.facts["network"]
    return f"t-SNE of {run} ({at})\n{model.arch}, {which}; data: {model.facts['data']['name']}"
