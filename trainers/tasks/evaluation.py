"""Tasks by name, and one evaluation from options to results."""

from ...shards.errors import choose
from ..ranks import process_group, rank
from .linear import Linear, Transfer
from .model import EvaluatedModel, Evaluation, report, title
from .on_features import Instdisc, Knn, Shots, Stats, Tsne

TASKS = {"knn": Knn, "linear": Linear, "transfer": Transfer, "shots": Shots, "instdisc": Instdisc, "stats": Stats,
         "tsne": Tsne}  # fmt: skip


def options_of(task: str) -> Evaluation:
    """The task's options as they are without a word; UserError with the nearest names for an unknown one."""
    return TASKS[choose("task", task, TASKS)]()


def evaluate(options: Evaluation) -> dict[str, float]:
    """Run the task; rank 0 prints a table and adds the numbers to results.json beside the checkpoint."""
    name = next(name for name, kind in TASKS.items() if type(options) is kind)
    with process_group(options.device) as device:
        results = dict(options.measure(EvaluatedModel(options, device)))  # pyright: ignore[reportAttributeAccessIssue]
        if not rank():
            report(title(name, options), results, options)
    return results
