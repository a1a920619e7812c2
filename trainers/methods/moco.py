"""MoCo: tell an image's other view from a queue of older images.

    loss    -log softmax([q.k, q.Q] / T)[0]      q = f(x1),  k = g(x2) through ShuffleBN
    update  g <- m g + (1 - m) f before the forward;  k replaces the oldest rows of Q after the step

v1 arXiv:1911.05722 (linear head, T = 0.07), v2 arXiv:2003.04297 (MLP head, T = 0.2, blur). The release writes the queue
inside the forward and therefore copies it every step; writing it after the backward gives the same sequence without the
copy. The release runs on several GPUs only; here groups of BatchNorm statistics (`bn_groups`) replace them, on one
device too.
"""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ...augment.spec import Views
from ...pipeline.batch import Batch
from ...shards.keyed import Purpose
from ...shards.manifest import Manifest
from ..nets.encoder import Encoder, encoder
from ..nets.grouped_norm import grouped
from ..ranks import world_size
from ..recipes import options
from .method import Method, Now, Stats
from .parts import (
    ONE_ENCODER,
    Queue,
    Wave,
    check_groups,
    check_queue,
    check_views,
    check_wave,
    check_whole_batch,
    ema_,
    frozen_copy,
    permutation,
    shuffle_bn,
    two_views,
    unit_rows,
)
from .shadow import Shadow


def logits(q: Tensor, k: Tensor, queue: Tensor, temperature: float) -> Tensor:
    """Unit rows q, k [N, D] and queue [K, D] -> logits [N, 1 + K]; column 0 is the own positive."""
    own = (q * k).sum(dim=1, keepdim=True)  # [N, 1]
    return torch.cat([own, q @ queue.T], dim=1) / temperature


def acc1(scores: Tensor) -> Tensor:
    """The share of rows [N, 1 + K] whose own positive scores highest; of n equal highest scores it counts one n-th."""
    highest = scores == scores.amax(dim=1, keepdim=True)
    return (highest[:, 0] / highest.sum(dim=1)).mean()


class MoCo(Method):
    """MoCo of an `encoder`, images -> [N, dim], with a queue of `queue` keys; `bn_groups` divide the global batch.

    `wave`: what the temperature is at a step, if it changes.
    """

    uses_total = False

    keys: Tensor

    def __init__(
        self,
        encoder: Encoder,
        *,
        dim: int = 128,
        queue: int = 65536,
        momentum: float = 0.999,
        temperature: float = 0.07,
        bn_groups: int = 8,
        wave: Wave | None = None,
    ):
        super().__init__()
        grouped(encoder, bn_groups)
        self.online, self.target = encoder, frozen_copy(encoder)
        self.shadow = Shadow(self.target)
        self.queue = Queue(unit_rows(queue, dim))
        self.momentum, self.temperature, self.wave = momentum, temperature, wave

    @classmethod
    def build(cls, recipe: options.MoCo, classes: int) -> "MoCo":
        return cls(
            encoder(recipe.arch, recipe.head, recipe.dim, stem=recipe.stem),
            dim=recipe.dim,
            queue=recipe.queue,
            momentum=recipe.key_momentum,
            temperature=recipe.temperature,
            bn_groups=recipe.bn_groups,
            wave=Wave.of(recipe, recipe.temperature),
        )

    @classmethod
    def check(cls, recipe: options.MoCo, views: Views, data: Manifest) -> None:
        check_views(recipe, views, two_views, "two views of one size")
        check_groups(recipe.bn_groups, recipe.batch_size)
        check_queue(recipe.queue, recipe.batch_size, len(data))
        check_whole_batch(recipe, ONE_ENCODER)
        check_wave(recipe, recipe.temperature)

    @property
    def backbone(self) -> nn.Module:
        return self.online.backbone

    def before_step(self, now: Now) -> None:
        ema_(self.target, self.online, self.momentum)
        self.temperature = self.wave(now) if self.wave else self.temperature

    def embed(self, batch: Batch, now: Now) -> tuple[Tensor, Tensor]:
        """The embeddings q = f(x1) and k = g(x2), [N, D] each, not yet normalized."""
        x1, x2 = batch.views
        order = permutation(len(x2) * world_size(), now, Purpose.SHUFFLE_BN, x2.device)
        return self.online(x1), shuffle_bn(self.shadow.network(), x2, order)

    def scores(self, q: Tensor, k: Tensor) -> Tensor:
        """Embeddings [N, D] -> logits [N, 1 + K]; keeps the keys for `after_step`. Call it outside of autocast."""
        rows = self.queue.rows
        q, self.keys = (F.normalize(x.to(rows.dtype), dim=1) for x in (q, k))  # [N, D]
        return logits(q, self.keys, rows, self.temperature)

    def forward(self, batch: Batch, now: Now) -> tuple[Tensor, Stats]:
        q, k = self.embed(batch, now)
        with torch.autocast(q.device.type, enabled=False):  # a bf16 logit of 14 is off by up to 1/32
            scores = self.scores(q, k)  # [N, 1 + K]
            filled = scores.new_full((), min(now.step * len(q) * world_size() / len(self.queue.rows), 1.0))
            own = scores.new_zeros(len(q), dtype=torch.long)
            self.keep(lambda: F.cross_entropy(scores, own, reduction="none"))
            return F.cross_entropy(scores, own), {"acc1": acc1(scores), "filled": filled}

    def after_step(self, now: Now) -> None:
        self.queue.push(self.keys)
