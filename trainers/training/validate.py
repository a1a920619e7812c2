"""Validation between epochs: measures of a backbone, or the accuracy of a classifier."""

from collections.abc import Iterator
from contextlib import ExitStack, closing

import torch
from torch import Tensor

from ...shards.errors import UserError
from ...shards.manifest import Manifest
from ..evals import classify, knn, shots
from ..evals.features import features
from ..evals.overlap import warned
from ..evals.rankme import rankme
from ..loaders import evaluating
from ..methods.method import Method
from ..precision import without_tf32
from ..ranks import share_buffers
from ..recipes.options import Recipe, Supervised
from .online import OnlineProbe
from .options import Run
from .precision import precision

TESTED_WITH = {  # by the views of a method without a classifier; else `evaluation`
    "inat_slaug": "inat_evaluation",
    **dict.fromkeys(("simclr", "simclr_sthalles", "sdclr"), "simclr_evaluation"),
    **dict.fromkeys(("simclr_cifar", "sdclr_cifar"), "simclr_cifar_evaluation"),
}

RANKED = 25_600  # images whose features have their rank measured, as in the paper


class Validator:
    """Measures `method` on the validation set `val` every `eval_every` epochs of `run` and after the last one.

    A supervised method is measured by its classifier, any other as `run.online` says: by kNN with the training set
    `data` as the bank, by the classifier `probe` that is trained along, by the rank of the features of `val`. In fp32,
    but a classifier on a fixed backbone in the precision of the features that it is trained on. Its loaders stay open
    until `close`. UserError for sets without labels or with different classes, and for more neighbors than there are
    images.
    """

    def __init__(
        self,
        method: Method,
        recipe: Recipe,
        run: Run,
        data: Manifest,
        val: Manifest,
        device: torch.device,
        probe: OnlineProbe | None = None,
    ):
        self.method, self.every, self.epochs, self.k = method, run.eval_every, recipe.epochs, run.knn_k
        self.online, self.probe, self.counts = run.online, probe, torch.tensor(data.counts, device=device)
        self.supervised = isinstance(recipe, Supervised)
        by_knn = not self.supervised and "knn" in run.online
        fixed = isinstance(recipe, Supervised) and recipe.trained == "classifier"
        self.dtype = precision(recipe, device) if fixed else torch.float32
        sets = (data, val) if by_knn else (val,)
        for manifest in (data, val):
            if self.supervised or run.online != ("rankme",):
                manifest.require_labels("--eval-every")
        if val.info.classes != data.info.classes:
            raise UserError(f"{val.root} and {data.root} have different classes: name the --val of the training set")
        if by_knn and run.knn_k > len(data):
            raise UserError(f"--knn-k {run.knn_k} neighbors cannot vote among {len(data)} training images: lower it")
        warned(data, val)
        views = recipe.test_views if isinstance(recipe, Supervised) else TESTED_WITH.get(recipe.views, "evaluation")
        self.samples = [len(manifest) for manifest in sets]
        with ExitStack() as stack:  # closes the first loader if the second cannot be opened
            self.loaders = [
                stack.enter_context(closing(evaluating(m, recipe.size, recipe.batch_size, run, device, views)))
                for m in sets
            ]
            self._open = stack.pop_all()

    def due(self, epoch: int) -> bool:
        """Whether to measure after `epoch`, counted from 0."""
        return (epoch + 1) % self.every == 0 or epoch + 1 == self.epochs

    @without_tf32()
    def measure(self) -> dict[str, float]:
        """Numbers by name; best.pt is the checkpoint with the highest first one."""
        net = self.method.get_submodule("online") if self.supervised else self.method.backbone
        share_buffers(net)  # else each rank would embed its share with its own statistics
        sets = [features(net, *one, self.dtype) for one in zip(self.loaders, self.samples, strict=True)]
        self.method.train()
        if self.supervised:
            return dict(classify.accuracy(*sets[0]))
        return {name: value for measure in self.online for name, value in self._measured(measure, sets)}

    def _measured(self, measure: str, sets: list[tuple[Tensor, Tensor]]) -> Iterator[tuple[str, float]]:
        """Numbers of one of `online`, from the features and labels of the sets, those of `val` last."""
        x, labels = sets[-1]
        if measure == "knn":
            ((_, accuracy),) = knn.weighted(*sets[0], x, labels, k=self.k)
            yield "knn", accuracy
        elif measure == "rankme":
            yield "rankme", rankme(x[:: -(-len(x) // RANKED)])
        else:
            assert self.probe is not None
            scores = self.probe.scores(x)
            yield "linear", float((scores.argmax(dim=1) == labels).double().mean())
            accuracy = classify.per_class(scores, labels, len(self.counts))
            if rule := shots.dividing(self.counts):
                means = shots.groups(accuracy, self.counts, rule=rule).tolist()
                yield from zip((f"linear/{group}" for group in shots.GROUPS), means, strict=True)

    def close(self) -> None:
        self._open.close()
