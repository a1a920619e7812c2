"""SEED: a small network imitates a teacher's similarities between an image and a queue of older images.

    loss    CE([s.t, s.Q] / T, softmax([t.t, t.Q] / T_t))     s = f(x),  t = g(x) of the teacher, both of length one
            plus the same over the small patches of an image, if there are any, with a queue of their own
    update  t replaces the oldest rows of Q after the step; the small queue takes t of each image's first patch

arXiv:2101.04731 (spec: SEED 10 to 12). The release's program for patches does not normalize the teacher's rows, because
those of SwAV have length one; here all rows are normalized, which changes nothing for SwAV. That program also computes
the teacher's logits, up to 1e4, in fp16, whose step is 8 at that size; here they are fp32.
"""

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ...augment.spec import Views, size_of
from ...pipeline.batch import Batch
from ...shards.errors import UserError
from ...shards.manifest import Manifest
from ..nets.encoder import Encoder, check_sizes, encoder
from ..nets.grouped_norm import grouped
from ..recipes import options
from .method import Method, Now, Stats
from .moco import acc1, logits
from .parts import (
    ONE_ENCODER,
    Queue,
    check_groups,
    check_queue,
    check_views,
    check_whole_batch,
    unit_rows,
)
from .shadow import Shadow

PATCHES = "seed_patches"  # the recipe of views with small ones


def one_and_smaller(views: Views) -> bool:
    """Whether there is one view, or one and smaller ones of one size."""
    small = {size_of(view) for view in views[1:]}
    return not small or (len(small) == 1 and max(small) < size_of(views[0]))


def targets(t: Tensor, queue: Tensor, temperature: float) -> Tensor:
    """Teacher's rows t [N, D] and queue [K, D], taken as they are -> probabilities [N, 1 + K]; column 0: own row."""
    return logits(t, t, queue, temperature).softmax(dim=1)


def by_image(patches: Sequence[Tensor]) -> Tensor:
    """P patches [N, 3, S, S] -> [N P, 3, S, S] channels_last; row n P + p is patch p of image n."""
    return torch.stack([x.permute(0, 2, 3, 1) for x in patches], dim=1).flatten(0, 1).permute(0, 3, 1, 2)


class SEED(Method):
    """SEED of a student `online` and a fixed `teacher`, both images -> [N, dim].

    With `patches`, an image has one large view and P small ones; without, one view.
    """

    uses_total = False

    def __init__(
        self,
        online: Encoder,
        teacher: nn.Module,
        *,
        dim: int = 128,
        queue: int = 65536,
        temperature: float = 0.2,
        teacher_temperature: float = 1e-4,
        bn_groups: int = 8,
        patches: bool = False,
    ):
        super().__init__()
        grouped(online, bn_groups)
        self.online, self.teacher = online, teacher.requires_grad_(False)
        self.shadow = Shadow(teacher)
        self.queue = Queue(unit_rows(queue, dim))
        self.small_queue = Queue(unit_rows(queue, dim)) if patches else None
        self.temperature, self.teacher_temperature = temperature, teacher_temperature

    @classmethod
    def build(cls, recipe: options.SEED, classes: int) -> "SEED":
        shape = {"stem": "cifar" if recipe.teacher_cifar else "imagenet", "hidden": recipe.teacher_hidden}
        return cls(
            encoder(recipe.arch, recipe.head, recipe.dim, stem=recipe.stem),
            encoder(recipe.teacher_arch, recipe.teacher_head, recipe.dim, **shape),
            dim=recipe.dim,
            queue=recipe.queue,
            temperature=recipe.temperature,
            teacher_temperature=recipe.teacher_temperature,
            bn_groups=recipe.bn_groups,
            patches=recipe.views == PATCHES,
        )

    @classmethod
    def check(cls, recipe: options.SEED, views: Views, data: Manifest) -> None:
        check_views(recipe, views, one_and_smaller, "one view, or one and small ones of one size")
        if (len(views) > 1) != (recipe.views == PATCHES):  # the name alone decides whether there is a small queue
            raise UserError(
                f"seed was given {len(views)} views of your own beside --views {recipe.views}: name --views {PATCHES} "
                f"for views with small patches, and --views seed for one"
            )
        check_groups(recipe.bn_groups, recipe.batch_size)
        check_queue(recipe.queue, recipe.batch_size, len(data))
        check_whole_batch(recipe, ONE_ENCODER)
        check_sizes(recipe.teacher_arch, [size_of(view) for view in views])

    @property
    def backbone(self) -> nn.Module:
        return self.online.backbone

    def train(self, mode: bool = True) -> "SEED":
        super().train(mode)
        self.teacher.eval()
        return self

    def forward(self, batch: Batch, now: Now) -> tuple[Tensor, Stats]:
        x, *patches = batch.views
        loss, scores, aims, self.keys = self.compare(x, self.queue.rows)
        if not patches:
            self.keep(lambda: F.cross_entropy(scores, aims, reduction="none"))
            return loss, {"acc1": acc1(scores)}
        assert self.small_queue is not None
        small, others, small_aims, keys = self.compare(by_image(patches), self.small_queue.rows)
        self.keep(
            lambda: (
                F.cross_entropy(scores, aims, reduction="none")
                + F.cross_entropy(others, small_aims, reduction="none").unflatten(0, (len(x), -1)).mean(dim=1)
            )
        )
        self.small_keys = keys[:: len(patches)]  # [N, D]
        return loss + small, {"acc1": acc1(scores), "small": small.detach()}

    def compare(self, x: Tensor, queue: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Images [N, 3, S, S], queue [K, D] -> loss, student's logits and their targets [N, 1 + K], teacher's unit rows
        [N, D]."""
        with torch.no_grad():
            t = self.shadow.network()(x)
        s = self.online(x)
        with torch.autocast(x.device.type, enabled=False):
            s, t = (F.normalize(rows.to(queue.dtype), dim=1) for rows in (s, t))  # [N, D]
            scores = logits(s, t, queue, self.temperature)  # [N, 1 + K]
            aims = targets(t, queue, self.teacher_temperature)
            return F.cross_entropy(scores, aims), scores, aims, t

    def after_step(self, now: Now) -> None:
        self.queue.push(self.keys)
        if self.small_queue is not None:
            self.small_queue.push(self.small_keys)
