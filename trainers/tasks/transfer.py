"""The task `transfer`: a classifier on the images of another data set, as ssl-small trains it."""

import dataclasses
from dataclasses import dataclass, field
from typing import Annotated, Literal

from ...shards.errors import UserError
from ..recipes.options import Supervised
from .evaluation import EvaluatedModel, Results
from .linear import Linear

CLASSES = {"cifar10": 10, "cifar100": 100, "caltech101": 101}


@dataclass(frozen=True, kw_only=True)
class Transfer(Linear):
    """A classifier on another data set's images: CIFAR-10, CIFAR-100, Caltech-101"""

    protocol: str = field(init=False, default="transfer")
    dataset: Annotated[
        Literal["cifar10", "cifar100", "caltech101"], "data set; Caltech-101 is tested on the center crop alone"
    ] = "cifar10"
    finetune: Annotated[
        bool, "train the whole network; --lr is then 1 for 256 images: the program's default of 30 diverges"
    ] = False

    def measure(self, model: EvaluatedModel) -> Results:
        data = self.training()
        if (classes := len(data.info.classes)) != CLASSES[self.dataset]:
            raise UserError(
                f"{self.dataset} has {CLASSES[self.dataset]} classes, {data.root} has {classes}: name its --dataset; "
                f"other data sets take --task linear --protocol transfer"
            )
        yield from super().measure(model)

    @property
    def name(self) -> str:
        """Name of the recipe."""
        return "transfer_finetune" if self.finetune else "transfer"

    def published(self) -> Supervised:
        """The recipe with its published values; its test depends on the data set."""
        recipe = super().published()
        return dataclasses.replace(recipe, test_views="transfer_evaluation") if self.dataset == "caltech101" else recipe
