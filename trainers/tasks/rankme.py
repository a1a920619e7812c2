"""The task `rankme`: three measures of features without labels."""

import logging

from ...augment.recipes import VIEWS, views_of
from ...augment.spec import View
from ...shards.errors import UserError
from ..evals.alpha_req import power_law, spectrum
from ..evals.lidar import lidar
from ..evals.rankme import rankme
from ..ranks import rank
from .model import EvaluatedModel, Results
from .options import Rankme
from .samples import some

LOG = logging.getLogger(__name__)

LIDAR_IMAGES = 1000  # as in its paper


def measure(options: Rankme, model: EvaluatedModel) -> Results:
    view = _lidar_view(options, model) if options.lidar else ()
    data = some(options.training(), options.images)
    model.facts["data"] = {"name": data.info.name, "samples": len(data), "identity": data.identity}
    x, _ = model.features(data)
    yield "rankme", rankme(x)
    yield "rankme/largest", float(min(x.shape))
    try:
        law = power_law(spectrum(x))
    except UserError as error:  # few images or dimensions: the other measures are there all the same
        if not rank():
            LOG.warning(f"note: no alpha-ReQ, since {error}")
    else:
        yield "alpha-req", law.alpha
        yield "alpha-req/r2", law.r2
    if view:
        yield "lidar", lidar(model.view_features(some(data, LIDAR_IMAGES), view, options.lidar))


def _lidar_view(options: Rankme, model: EvaluatedModel) -> View:
    """The first view of the training, of which each image gets several. UserError if nothing names it."""
    name = options.views or str(model.weights.recipe.get("views", ""))
    if name not in VIEWS and not options.views:
        raise UserError(f"{model.path} names no training views for LiDAR: name them, as in --views moco_v2")
    if options.lidar == 1:
        raise UserError("--lidar 1 compares views of each image with one another: take 2 or more, its paper takes 50")
    return views_of(name, model.size)[0]
