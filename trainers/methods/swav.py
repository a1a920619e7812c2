"""SwAV: predict from each crop of an image to which prototypes its large crops are assigned.

    loss    -mean of q_i . log softmax(z_v C / T)  over large crops i and all other crops v;  q_i = Sinkhorn(z_i C)
    update  the prototypes C are made unit rows before each forward and are fixed for the first `freeze` steps

arXiv:2006.09882 (spec: methods beyond 2). BatchNorm takes statistics over all crops of a size and all ranks.
"""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ...augment.spec import Views
from ...pipeline.batch import Batch
from ...shards.manifest import Manifest
from ..nets.encoder import encoder
from ..nets.norms import at_least_fp32, synchronized
from ..recipes import options
from .method import Method, Now, Stats
from .multicrop import MultiCrop
from .parts import check_views, check_whole_batch, two_and_smaller
from .sinkhorn import Assigner, check_assigner


def loss(scores: Tensor, q: Tensor, assigned: list[int], temperature: float, *, each: bool = False) -> Tensor:
    """Scores [V, N, K] of V crops, q [A, N, K] of the crops `assigned` -> cross-entropy of q and all other crops;
    `each`: that of each image, [N]."""
    log_p = F.log_softmax(scores / temperature, dim=-1)
    others = log_p.sum(dim=0) - torch.stack([log_p[crop] for crop in assigned])  # [A, N, K]
    rows = (q * others).sum(dim=-1)  # [A, N]
    return -(rows.mean(dim=0) if each else rows.mean()) / (len(scores) - 1)


class SwAV(Method):
    """SwAV of an encoder of crops `online`, a linear layer `prototypes` [K, D] and their `assigner`."""

    uses_total = False

    def __init__(
        self, online: MultiCrop, prototypes: nn.Linear, assigner: Assigner, *, temperature: float, freeze: int
    ):
        super().__init__()
        self.online, self.prototypes, self.assigner = online, prototypes, assigner
        self.temperature, self.freeze = temperature, freeze
        synchronized(self)

    @classmethod
    def build(cls, recipe: options.SwAV, classes: int) -> "SwAV":
        net = encoder(recipe.arch, "projector", recipe.dim, stem=recipe.stem, hidden=recipe.hidden)
        parts = MultiCrop(net.backbone, net.head), nn.Linear(recipe.dim, recipe.prototypes, bias=False)
        return cls(*parts, Assigner.of(recipe), temperature=recipe.temperature, freeze=recipe.freeze)

    @classmethod
    def check(cls, recipe: options.SwAV, views: Views, data: Manifest) -> None:
        check_views(recipe, views, two_and_smaller, "two views of one size, and smaller ones of one size if any")
        check_whole_batch(recipe, "it assigns the images of a whole batch to its prototypes together")
        check_assigner(recipe)

    @property
    def backbone(self) -> nn.Module:
        return self.online.backbone

    @torch.no_grad()
    def before_step(self, now: Now) -> None:
        self.prototypes.weight.copy_(F.normalize(self.prototypes.weight, dim=1))
        self.frozen = now.step < self.freeze
        self.assigner.begin(now)

    def before_update(self, optimizer: torch.optim.Optimizer) -> None:
        if self.frozen:
            self.prototypes.weight.grad = None

    def forward(self, batch: Batch, now: Now) -> tuple[Tensor, Stats]:
        rows, prototypes = self.online(batch.views), self.prototypes.weight
        with torch.autocast(rows.device.type, enabled=False):
            z = F.normalize(at_least_fp32(rows), dim=1).unflatten(0, (len(batch.views), -1))  # [V, N, D]
            q = self.assigner(z[:2].detach(), prototypes.detach())  # [2, N, K]
            scores = z @ prototypes.T  # [V, N, K]
            self.keep(lambda: loss(scores, q, [0, 1], self.temperature, each=True))
            return loss(scores, q, [0, 1], self.temperature), {}

    def after_step(self, now: Now) -> None:
        self.assigner.end()
