"""Validation between epochs: kNN accuracy of a backbone, or the accuracy of a classifier."""

from contextlib import ExitStack, closing

import torch

from ...shards.errors import UserError
from ...shards.manifest import Manifest
from ..evals import classify, knn
from ..evals.features import features
from ..evals.overlap import warned
from ..loaders import evaluating
from ..methods.method import Method
from ..precision import without_tf32
from ..ranks import share_buffers
from ..recipes.options import Recipe, Supervised
from .options import Run
from .precision import precision

TESTED_WITH = {  # by the views of a method without a classifier; else `evaluation`
    "inat_slaug": "inat_evaluation",
    **dict.fromkeys(("simclr", "simclr_sthalles", "sdclr"), "simclr_evaluation"),
    **dict.fromkeys(("simclr_cifar", "sdclr_cifar"), "simclr_cifar_evaluation"),
}


class Validator:
    """Measures `method` on the validation set `val` every `eval_every` epochs of `run` and after the last one.

    A supervised method is measured by its classifier, any other by kNN with the training set `data` as the bank: in
    fp32, but a classifier on a fixed backbone in the precision of the features that it is trained on. Its loaders stay
    open until `close`. UserError for sets without labels or with different classes,
    and for more neighbors than there are images.
    """

    def __init__(self, method: Method, recipe: Recipe, run: Run, data: Manifest, val: Manifest, device: torch.device):
        self.method, self.every, self.epochs, self.k = method, run.eval_every, recipe.epochs, run.knn_k
        self.supervised = isinstance(recipe, Supervised)
        fixed = isinstance(recipe, Supervised) and recipe.trained == "classifier"
        self.dtype = precision(recipe, device) if fixed else torch.float32
        sets = (val,) if self.supervised else (data, val)
        for manifest in sets:
            manifest.require_labels("--eval-every")
        if val.info.classes != data.info.classes:
            raise UserError(f"{val.root} and {data.root} have different classes: name the --val of the training set")
        if not self.supervised and run.knn_k > len(data):
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
        """Accuracies by name; best.pt is the checkpoint with the highest first one."""
        net = self.method.get_submodule("online") if self.supervised else self.method.backbone
        share_buffers(net)  # else each rank would embed its share with its own statistics
        sets = [features(net, *one, self.dtype) for one in zip(self.loaders, self.samples, strict=True)]
        self.method.train()
        if self.supervised:
            return dict(classify.accuracy(*sets[0]))
        ((_, accuracy),) = knn.weighted(*sets[0], *sets[1], k=self.k)
        return {"knn": accuracy}

    def close(self) -> None:
        self._open.close()
