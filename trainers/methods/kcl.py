"""KCL: MoCo with up to k queued images of the same class as additional positives.

    loss    -mean of log softmax([q.k, q.Q] / T) over column 0 and S     S = up to k slots of Q with the image's label
    update  as in MoCo; a second queue holds the labels of the keys; batches of epoch -1 fill both before step 0

ICLR 2021, openreview.net/forum?id=OqtLIabPTit, after its release BalFeat (spec: BalFeat 4). Images of the class beyond
k are negatives in `v1`; `v2` sets their logits to 0. In the release, S depends on how topk breaks ties: it takes the
lowest slots (`first`). The place in memory is no reason to prefer a slot, so by default a keyed hash chooses
(`random`). The release's `sump` ends in a vector, on which backward cannot be called; here its rows are added up.
"""

import torch
import torch.nn.functional as F
from torch import Tensor

from ...augment.spec import Views
from ...pipeline.batch import Batch
from ...shards.errors import choose
from ...shards.manifest import Manifest
from ..nets.encoder import Encoder, encoder
from ..ranks import gather, rank, world_size
from ..recipes import options
from .method import Now, Stats
from .moco import MoCo, acc1
from .parts import Queue, Wave
from .positives import lowest_first, picked, random_order, set_aside, soft_targets, summed


class KCL(MoCo):
    """MoCo with `posk` positives from the queue (0: all of the class); takes MoCo's arguments too.

    `batch` is the size of the global batch; labels are >= 0. Loss and backward hold up to six arrays [N, 1 + K], 400 MB
    for 256 x 65536, where MoCo holds three.
    """

    labels: Tensor

    def __init__(
        self,
        encoder: Encoder,
        *,
        batch: int,
        dim: int = 128,
        queue: int = 65536,
        momentum: float = 0.999,
        temperature: float = 0.07,
        bn_groups: int = 8,
        posk: int = 6,
        pick: str = "random",
        losstype: str = "v1",
        sump: bool = False,
        tgt_avg: bool = False,
        wave: Wave | None = None,
    ):
        common = {"temperature": temperature, "bn_groups": bn_groups, "wave": wave}
        super().__init__(encoder, dim=dim, queue=queue, momentum=momentum, **common)
        self.label_queue = Queue(torch.full((queue,), -1))  # -1, no label: never a positive
        self.prefill = queue // batch
        self.posk, self.sump, self.tgt_avg = posk, sump, tgt_avg
        self.random = choose("pick", pick, ("random", "first")) == "random"
        self.v2 = choose("losstype", losstype, ("v1", "v2")) == "v2"

    @classmethod
    def build(cls, recipe: options.MoCo, classes: int) -> "KCL":
        assert isinstance(recipe, options.KCL)
        return cls(
            encoder(recipe.arch, recipe.head, recipe.dim, stem=recipe.stem),
            batch=recipe.batch_size,
            dim=recipe.dim,
            queue=recipe.queue,
            momentum=recipe.key_momentum,
            temperature=recipe.temperature,
            bn_groups=recipe.bn_groups,
            posk=recipe.posk,
            pick=recipe.pick,
            losstype=recipe.losstype,
            sump=recipe.sump,
            tgt_avg=recipe.tgt_avg,
            wave=Wave.of(recipe, recipe.temperature),
        )

    @classmethod
    def check(cls, recipe: options.MoCo, views: Views, data: Manifest) -> None:
        super().check(recipe, views, data)
        data.require_labels(recipe.method)

    @torch.no_grad()
    def fill(self, batch: Batch, now: Now) -> None:
        """Push the keys and labels of a batch into the queues. BatchNorm's running statistics move, weights do not."""
        q, k = self.embed(batch, now)
        with torch.autocast(q.device.type, enabled=False):
            self.keys, self.labels = F.normalize(k.to(self.queue.rows.dtype), dim=1), batch.target
        self.after_step(now)

    def forward(self, batch: Batch, now: Now) -> tuple[Tensor, Stats]:
        q, k = self.embed(batch, now)
        self.labels, queued = batch.target, self.label_queue.rows
        with torch.autocast(q.device.type, enabled=False):
            same = self.labels[:, None] == queued  # [N, K]
            chosen = picked(same, self.order(len(q), now), self.posk) if self.posk else same
            scores = self.scores(q, k)  # [N, 1 + K]
            if self.v2:
                scores = set_aside(scores, same & ~chosen)
            filled, positives = (queued >= 0).float().mean(), chosen.sum() / len(q)
            self.keep(lambda: self.loss(scores, chosen, each=True))
            return self.loss(scores, chosen), {"acc1": acc1(scores), "positives": positives, "filled": filled}

    def order(self, anchors: int, now: Now) -> Tensor:
        """The order of slots for `picked`, [N, K] or [K] int32; anchors are numbered over all ranks."""
        slots = self.label_queue.rows
        if self.random:
            return random_order(rank() * anchors, anchors, len(slots), now, slots.device)
        return lowest_first(len(slots), slots.device)

    def loss(self, scores: Tensor, chosen: Tensor, *, each: bool = False) -> Tensor:
        """The loss of logits [N, 1 + K], chosen slots [N, K] bool; its mean over ranks is that of the global batch.
        `each`: that of each image, [N]."""
        if not self.sump:
            return F.cross_entropy(scores, soft_targets(chosen, scores.dtype), reduction="none" if each else "mean")
        rows = summed(scores, chosen)  # [N]
        if not self.tgt_avg:
            return rows if each else rows.mean()
        positives = gather(chosen.sum()[None] + len(rows)).sum()  # each anchor's own key is one
        return (len(rows) * rows if each else rows.sum()) * world_size() / positives

    def after_step(self, now: Now) -> None:
        super().after_step(now)
        self.label_queue.push(self.labels)
