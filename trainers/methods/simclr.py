"""SimCLR: tell an image's other view from both views of all other images of the batch.

    loss    -log softmax([z.z', z.Z] / T)[0]     z' the other view of the anchor, Z both views of all other images
            averaged over both views of all images, over all ranks: NT-Xent

arXiv:2002.05709, arXiv:2006.10029, google-research/simclr (spec: methods beyond 1). Both views take their BatchNorm
statistics together, over all ranks. The program adds the losses of the two directions: twice the mean (`directions`).
"""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ...augment.spec import Views
from ...pipeline.batch import Batch
from ...shards.manifest import Manifest
from ..nets.encoder import Encoder, encoder
from ..nets.norms import at_least_fp32, synchronized
from ..ranks import gathered, rank
from ..recipes import options
from .method import Method, Now, Stats
from .moco import acc1
from .parts import Wave, check_views, check_wave, check_whole_batch, two_views
from .seed import by_image


def logits(z1: Tensor, z2: Tensor, temperature: float) -> Tensor:
    """Unit rows of two views [N, D] on each of W ranks -> [2 N, 1 + 2 N W] for the anchors z1, then z2.

    Column 0 is the anchor's other view; then come all rows, of which the anchor and its other view are -inf.
    """
    count, anchors, others = len(z1), torch.cat([z1, z2]), torch.cat([z2, z1])
    rows = gathered(torch.stack([z1, z2], dim=1)).flatten(0, 1)  # [2 N W, D], image by image
    image = torch.arange(len(rows), device=rows.device) // 2
    own = rank() * count + torch.arange(2 * count, device=rows.device) % count
    scores = (anchors @ rows.T).masked_fill(image == own[:, None], float("-inf"))
    return torch.cat([(anchors * others).sum(dim=1, keepdim=True), scores], dim=1) / temperature


def loss(scores: Tensor, *, each: bool = False) -> Tensor:
    """Logits [2 N, 1 + 2 N W] -> their NT-Xent; its mean over ranks is that of the global batch, gradients included.
    `each`: that of each image, the mean of its two anchors, [N]."""
    own = scores.new_zeros(len(scores), dtype=torch.long)
    if each:
        return F.cross_entropy(scores, own, reduction="none").unflatten(0, (2, -1)).mean(dim=0)
    return F.cross_entropy(scores, own)


class SimCLR(Method):
    """SimCLR of an encoder `online`, images -> [N, dim]; `scale` is a factor on the loss."""

    uses_total = False

    def __init__(self, online: Encoder, *, temperature: float = 0.1, scale: float = 1.0, wave: Wave | None = None):
        super().__init__()
        self.online = online
        self.temperature, self.scale, self.wave = temperature, scale, wave
        synchronized(self)

    @classmethod
    def build(cls, recipe: options.SimCLR, classes: int) -> "SimCLR":
        net = encoder(recipe.arch, recipe.head, recipe.dim, stem=recipe.stem)
        wave, scale = Wave.of(recipe, recipe.temperature), 2.0 if recipe.directions == "sum" else 1.0
        return cls(net, temperature=recipe.temperature, scale=scale, wave=wave)

    @classmethod
    def check(cls, recipe: options.SimCLR, views: Views, data: Manifest) -> None:
        check_views(recipe, views, two_views, "two views of one size")
        check_whole_batch(recipe, "the other images of its whole batch are its negatives")
        check_wave(recipe, recipe.temperature)

    @property
    def backbone(self) -> nn.Module:
        return self.online.backbone

    def before_step(self, now: Now) -> None:
        self.temperature = self.wave(now) if self.wave else self.temperature

    def forward(self, batch: Batch, now: Now) -> tuple[Tensor, Stats]:
        rows = self.online(by_image(batch.views))  # [2 N, D], whose places do not depend on the number of ranks
        with torch.autocast(rows.device.type, enabled=False):
            z1, z2 = F.normalize(at_least_fp32(rows), dim=1).unflatten(0, (-1, 2)).unbind(1)  # [N, D]
            scores = logits(z1, z2, self.temperature)
            self.keep(lambda: self.scale * loss(scores, each=True))
            return self.scale * loss(scores), {"acc1": acc1(scores.detach())}
