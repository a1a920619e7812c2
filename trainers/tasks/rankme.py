"""The task `rankme`."""

from ..evals.rankme import rankme
from .model import EvaluatedModel, Results
from .options import Rankme
from .samples import some


def measure(options: Rankme, model: EvaluatedModel) -> Results:
    data = some(options.training(), options.images)
    model.facts["data"] = {"name": data.info.name, "samples": len(data), "identity": data.identity}
    x, _ = model.features(data)
    yield "rankme", rankme(x)
    yield "rankme/largest", float(min(x.shape))
