"""One evaluation, from options to results."""

import logging
from collections.abc import Callable
from pathlib import Path
from typing import Any

from ...pipeline.readers.copies import summary
from ...shards.errors import UserError
from ...shards.info import JSON
from ..marks import progress
from ..precision import without_tf32
from ..ranks import process_group, rank, shared
from ..threads import all_cores, asked, taken
from . import knn, linear, logreg, rankme, shots, static_sets
from .model import EvaluatedModel, Results
from .options import TASKS, Evaluation
from .results import entries, report, show, title

LOG = logging.getLogger(__name__)

# Each yields (name, value) for every number of the evaluation; every rank calls it.
MEASURES: dict[str, Callable[[Any, EvaluatedModel], Results]] = {
    "knn": knn.measure,
    "linear": linear.measure,
    "transfer": linear.measure_transfer,
    "shots": shots.measure,
    "logreg": logreg.measure,
    "rankme": rankme.measure,
    "instdisc": static_sets.measure_instdisc,
    "stats": static_sets.measure_stats,
    "tsne": static_sets.measure_tsne,
}


def evaluate(options: Evaluation) -> dict[str, float]:
    """Run the evaluation and return its numbers; rank 0 logs them and adds them to results.json."""
    return evaluated(options)[0]


def evaluated(options: Evaluation) -> tuple[dict[str, float], JSON]:
    """The same, with the file, name and content of the new entry of results.json, {} on other ranks than the first."""
    name = next(name for name, task in TASKS.items() if type(options) is task)
    threads = asked(options.threads) or all_cores()
    with process_group(options.device, options.watchdog) as device, without_tf32(), taken(threads):
        progress.folder = Path(options.checkpoint).parent
        model = EvaluatedModel(options, device)
        if not rank():
            LOG.info(f"precision: {options.precision}, TF32 off")
            LOG.info(str(threads))
        _require_results(model.path.with_name("results.json"))
        results: dict[str, float] = {}
        entry: JSON = {}
        try:
            results.update(MEASURES[name](options, model))
        finally:  # numbers took long, and a file beside them may be refused
            if not rank():
                show(title(name, options), results)
        if not rank():
            if staged := summary():
                LOG.info(staged)
            entry = report(title(name, options), results, options, model.facts)
    return results, entry


def _require_results(file: Path) -> None:
    """UserError, on every rank, for a results.json to which nothing could be added later."""
    refusal = ""
    if not rank():
        try:
            entries(file)
        except UserError as error:
            refusal = str(error)
    if refusal := shared(refusal):
        raise UserError(refusal)
