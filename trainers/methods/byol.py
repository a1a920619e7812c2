"""BYOL: predict how a slowly moving copy of the network embeds an image's other view.

    loss    4 - 2 (q1.k1 + q2.k2)     q1, q2 = p(f(x1)), p(f(x2))  and  k1, k2 = g(x2), g(x1),  all of length one
    update  g <- m g + (1 - m) f before the forward;  m = 1 - (1 - m0) (cos(pi t / T) + 1) / 2

arXiv:2006.07733, as Spatial Ensemble's program implements it (spec: Spatial Ensemble B.1, B.2): m0 = 0.99; each of the
four passes takes its own BatchNorm statistics over the global batch. The teacher is in train mode too, and evaluations
use it. The update comes first at step 0 as well, where teacher and student are equal and it changes nothing.
"""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ...augment.spec import Views
from ...pipeline.batch import Batch
from ...shards.manifest import Manifest
from ..nets.encoder import Encoder, encoder
from ..nets.heads import mlp_with_norm
from ..nets.norms import at_least_fp32, synchronized
from ..recipes import options
from ..recipes.options import Recipe
from ..schedules import half_cosine
from .method import Method, Now, Stats
from .parts import check_views, ema_, frozen_copy, two_views
from .shadow import Shadow


def loss(q1: Tensor, q2: Tensor, k1: Tensor, k2: Tensor, *, each: bool = False) -> Tensor:
    """The mean over unit rows [N, D] of |q1 - k1|^2 + |q2 - k2|^2, 0 to 8; `each`: that of each image, [N].

    q1, q2 are the student's rows of views 1 and 2, k1, k2 the teacher's rows of views 2 and 1.
    """
    rows = 4 - 2 * ((q1 * k1).sum(dim=1) + (q2 * k2).sum(dim=1))
    return rows if each else rows.mean()


def spread(k: Tensor) -> Tensor:
    """How far unit rows [N, D] spread: 1 if they point in all directions alike, 0 if they are all the same."""
    return (k - k.mean(dim=0)).square().sum(dim=1).mean()


def momentum(step: int, total: int, base: float) -> float:
    """The teacher's momentum m at optimizer step `step` of `total`: rises from `base` to 1."""
    return 1 - (1 - base) * half_cosine(step, total)


def predictor(dim: int = 256, hidden: int = 4096) -> nn.Sequential:
    """An MLP like the projector: the student's embeddings [N, dim] -> guesses of the teacher's embeddings [N, dim]."""
    return mlp_with_norm(dim, hidden, dim)


def network(recipe: options.BYOL) -> Encoder:
    """A backbone with a projector, as student and teacher have it."""
    return encoder(recipe.arch, "projector", recipe.dim, stem=recipe.stem, hidden=recipe.hidden)


class BYOL(Method):
    """BYOL of a student `online`, images -> [N, dim], and a `predictor`, [N, dim] -> [N, dim].

    `target` is the teacher at the start, a copy of `online` if None. With `sync`, BatchNorm takes its statistics over
    all ranks' images.
    """

    def __init__(
        self,
        online: nn.Module,
        predictor: nn.Module,
        *,
        momentum: float = 0.99,
        target: nn.Module | None = None,
        sync: bool = True,
    ):
        super().__init__()
        self.online, self.predictor = online, predictor
        self.target = frozen_copy(online) if target is None else target.requires_grad_(False)
        self.shadow = Shadow(self.target)
        self.momentum = momentum
        if sync:
            synchronized(self)

    @classmethod
    def build(cls, recipe: options.BYOL, classes: int) -> "BYOL":
        return cls(network(recipe), predictor(recipe.dim, recipe.hidden), momentum=recipe.key_momentum)

    @classmethod
    def check(cls, recipe: Recipe, views: Views, data: Manifest) -> None:
        check_views(recipe, views, two_views, "two views of one size")

    @property
    def backbone(self) -> nn.Module:
        assert isinstance(self.target, Encoder)
        return self.target.backbone

    def before_step(self, now: Now) -> None:
        ema_(self.target, self.online, momentum(now.step, now.total, self.momentum))

    def student(self, x: Tensor) -> Tensor:
        """The student's guesses of the teacher's embeddings: images [N, 3, S, S] -> [N, dim]."""
        return self.predictor(self.online(x))

    def forward(self, batch: Batch, now: Now) -> tuple[Tensor, Stats]:
        x1, x2 = batch.views
        q1, q2 = self.student(x1), self.student(x2)
        with torch.no_grad():
            teacher = self.shadow.network()
            k1, k2 = teacher(x2), teacher(x1)
        with torch.autocast(x1.device.type, enabled=False):
            q1, q2, k1, k2 = (F.normalize(at_least_fp32(rows), dim=1) for rows in (q1, q2, k1, k2))  # [N, D]
            self.keep(lambda: loss(q1, q2, k1, k2, each=True))
            return loss(q1, q2, k1, k2), {"spread": spread(k1)}
