"""Validation between epochs: measures of a backbone, or the accuracy of a classifier."""

import dataclasses
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
from ..recipes.tested import evaluation_views
from .online import OnlineProbe
from .options import Run
from .precision import precision

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
        views = evaluation_views(dataclasses.asdict(recipe))
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
            yield from self._with_groups("knn", knn.weighted_right(*sets[0], x, labels, k=self.k), labels)
        elif measure == "rankme":
            yield "rankme", rankme(x[:: -(-len(x) // RANKED)])
        else:
            assert self.probe is not None
            yield from self._with_groups("linear", self.probe.scores(x).argmax(dim=1) == labels, labels)

    def _with_groups(self, name: str, right: Tensor, labels: Tensor) -> Iterator[tuple[str, float]]:
        """The share of images that are `right` [N] bool; then, if the classes fall into several groups, the mean over
        the classes of each."""
        yield name, float(right.double().mean())
        if rule := shots.dividing(self.counts):
            each = classify.share_of_each(right, labels, len(self.counts))
            means = shots.groups(each, self.counts, rule=rule).tolist()
            yield from (
                (f"{name}/{group}", m) for group, m in zip(shots.GROUPS, means, strict=True) if m == m
            )  # not nan

    def close(self) -> None:
        self._open.close()
