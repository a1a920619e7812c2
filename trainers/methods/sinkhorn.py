"""Assign samples to prototypes softly and in equal shares: Sinkhorn's iteration over all ranks, helped by a queue."""

import torch
from torch import Tensor, nn

from ...shards.errors import UserError, plural
from ..ranks import rank, summed, world_size
from ..recipes.options import SwAV
from .method import Now
from .parts import Queue, check_queue


@torch.no_grad()
def sinkhorn(scores: Tensor, epsilon: float, iterations: int) -> Tensor:
    """Scores [..., B, K] of this rank's samples and K prototypes -> their assignments, whose rows sum to 1.

    All ranks' samples share the prototypes; each rank has B rows. Prototypes are divided first, samples last, so shares
    of prototypes are equal only after many iterations (arXiv:2006.09882; spec: methods beyond 2.4). In fp32, scores of
    unit rows take an epsilon of 0.02 or more.
    """
    samples, prototypes = world_size() * scores.shape[-2], scores.shape[-1]
    q = (scores / epsilon).exp()
    q /= summed(q.sum((-2, -1), keepdim=True))
    for _ in range(iterations):
        q /= summed(q.sum(-2, keepdim=True)) * prototypes
        q /= q.sum(-1, keepdim=True) * samples
    return q * samples


class Assigner(nn.Module):
    """Assigns the `crops` large crops of a batch; with `rows`, a queue of that many earlier images takes part.

    The queue fills from the first step after `first_epoch` of `epochs` on and takes part once `rows` images of global
    batches of `batch` are in it. It is stored for all ranks, and each of them scores its slice.
    """

    def __init__(
        self,
        dim: int,
        *,
        epsilon: float = 0.05,
        iterations: int = 3,
        rows: int = 0,
        batch: int = 1,
        first_epoch: int = 0,
        epochs: int = 1,
        crops: int = 2,
    ):
        super().__init__()
        self.queue = Queue(torch.zeros(rows, crops, dim)) if rows else None
        self.epsilon, self.iterations = epsilon, iterations
        self.fill, self.first_epoch, self.epochs = rows // batch, first_epoch, epochs

    @classmethod
    def of(cls, recipe: SwAV) -> "Assigner":
        """That of a recipe."""
        queue = {"rows": recipe.queue, "batch": recipe.batch_size, "first_epoch": recipe.queue_epoch}
        return cls(recipe.dim, epsilon=recipe.epsilon, iterations=recipe.iterations, **queue, epochs=recipe.epochs)

    def begin(self, now: Now) -> None:
        """Start a step."""
        filled = now.step - self.first_epoch * now.total // self.epochs  # steps whose images were queued before
        self.queues, self.full = filled >= 0, filled >= self.fill

    @torch.no_grad()
    def forward(self, z: Tensor, prototypes: Tensor) -> Tensor:
        """Unit rows z [A, N, D] of the large crops, prototypes [K, D] -> assignments [A, N, K]."""
        self.embedded, rows = z.transpose(0, 1), z
        if self.queue is not None and self.full:
            own = self.queue.rows.chunk(world_size())[rank()]  # [L / W, A, D]
            rows = torch.cat([own.transpose(0, 1), z], dim=1)
        return sinkhorn(rows @ prototypes.T, self.epsilon, self.iterations)[:, -z.shape[1] :]

    def end(self) -> None:
        """Queue the images of a step."""
        if self.queue is not None and self.queues:
            self.queue.push(self.embedded)


def check_assigner(recipe: SwAV) -> None:
    """UserError for prototypes that cannot share a batch, and for a queue that whole batches do not fill."""
    if recipe.prototypes < (least := max(2, world_size())):
        raise UserError(
            f"--prototypes {recipe.prototypes} cannot share the images of {plural(world_size(), 'rank')} among them: "
            f"take {least} or more, best several times the number of classes"
        )
    if recipe.queue:
        check_queue(recipe.queue, recipe.batch_size)
