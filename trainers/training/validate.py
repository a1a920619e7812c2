"""What a run asks of its network between epochs: kNN accuracy of a backbone, top-1 of a classifier."""

from collections.abc import Callable
from contextlib import ExitStack, closing

import torch

from ...shards.errors import UserError
from ...shards.manifest import Manifest
from ..data import Loading, evaluating
from ..evals import classify, knn
from ..evals.features import features
from ..methods.method import Method
from ..ranks import share_buffers
from ..recipes.options import Recipe, Supervised

Probe = Callable[[], dict[str, float]]  # the first number is what best.pt has the highest of


def probe_of(
    method: Method, bank: Manifest, val: Manifest, recipe: Recipe, how: Loading, device: torch.device, k: int,
    stack: ExitStack,
) -> Probe:  # fmt: skip
    """Accuracy on `val`: of the classifier, or of `k` nearest neighbors in `bank`. Loaders live as long as `stack`."""
    supervised = isinstance(recipe, Supervised)
    data = (val,) if supervised else (bank, val)
    for m in data:
        m.require_labels("--eval-every")
    if val.info.classes != bank.info.classes:
        raise UserError(f"{val.root} and {bank.root} have different classes: name the --val of the training set")
    views = recipe.test_views if isinstance(recipe, Supervised) else "evaluation"
    size, batch = recipe.size, recipe.batch_size
    sets = [stack.enter_context(closing(evaluating(m, size, batch, how, device, views))) for m in data]

    def measure() -> dict[str, float]:
        net = method.get_submodule("online") if supervised else method.backbone
        share_buffers(net)  # else each rank would embed its share by statistics of its own
        found = [features(net, loader) for loader in sets]
        method.train()
        if supervised:
            return dict(classify.accuracy(*found[0]))
        return {"knn": dict(knn.weighted(*found[0], *found[1], k=k)).popitem()[1]}

    return measure
