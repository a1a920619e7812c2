"""One evaluation, from options to results."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

from ..marks import progress
from ..precision import without_tf32
from ..ranks import process_group, rank
from ..threads import all_cores, asked, taken
from . import knn, linear, logreg, rankme, shots, static_sets
from .model import EvaluatedModel, Results
from .options import TASKS, Evaluation
from .results import report, title

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
    """Run the evaluation and return its numbers; rank 0 prints them and adds them to results.json."""
    name = next(name for name, task in TASKS.items() if type(options) is task)
    threads = asked(options.threads) or all_cores()
    with process_group(options.device, options.watchdog) as device, without_tf32(), taken(threads):
        progress.folder = Path(options.checkpoint).parent
        model = EvaluatedModel(options, device)
        if not rank():
            print(f"precision: {options.precision}, TF32 off")
            print(threads)
        results = dict(MEASURES[name](options, model))
        if not rank():
            report(title(name, options), results, options, model.facts)
    return results
