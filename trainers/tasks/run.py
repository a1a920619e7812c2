"""The tasks by name, and one evaluation from options to results."""

from ...shards.errors import choose
from ..precision import without_tf32
from ..ranks import process_group, rank
from .evaluation import EvaluatedModel, Evaluation
from .knn import Knn
from .linear import Linear
from .results import report, title
from .shots import Shots
from .static_sets import Instdisc, Stats, Tsne
from .transfer import Transfer

TASKS: dict[str, type[Evaluation]] = {
    "knn": Knn,
    "linear": Linear,
    "transfer": Transfer,
    "shots": Shots,
    "instdisc": Instdisc,
    "stats": Stats,
    "tsne": Tsne,
}


def options_of(task: str) -> Evaluation:
    """The default options of a task. UserError with the nearest names for an unknown one."""
    return TASKS[choose("task", task, TASKS)]()


def evaluate(options: Evaluation) -> dict[str, float]:
    """Run the evaluation and return its numbers; rank 0 prints them and adds them to results.json."""
    name = next(name for name, task in TASKS.items() if type(options) is task)
    with process_group(options.device) as device, without_tf32():
        model = EvaluatedModel(options, device)
        if not rank():
            print(f"precision: {options.precision}, TF32 off")
        results = dict(options.measure(model))
        if not rank():
            report(title(name, options), results, options, model.facts)
    return results
