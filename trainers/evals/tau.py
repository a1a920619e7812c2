"""tau-normalized classifiers: weight rows of frequent classes grow long, so each is divided by its length to the tau.

    w_c / |w_c|^tau, without bias        tau = 0, 0.1, ... 1

arXiv:1910.09217; spec balfeat_seed 5. A BatchNorm after the rows is kept: in eval mode it scales each row, whose length
is then the length that counts, subtracts a mean, which is divided with the row, and adds a shift, which is not. The
rows' own bias cancels in its mean. So tau = 0 is that classifier itself.
"""

from collections.abc import Iterator, Sequence

import torch
from torch import Tensor, nn

TAUS = tuple(step / 10 for step in range(11))


def tau_scores(
    x: Tensor,
    weight: Tensor,
    *,
    mean: Tensor | float = 0.0,
    shift: Tensor | float = 0.0,
    taus: Sequence[float] = TAUS,
) -> Iterator[tuple[float, Tensor]]:
    """Yield each tau and the scores [N, C] of its classifier. Features x [N, D], weight [C, D]; `mean` and `shift` [C]
    of a BatchNorm: `folded`."""
    for tau in taus:
        yield tau, (x @ weight.T - mean) / lengths(weight)[:, 0] ** tau + shift


def folded(rows: nn.Linear, norm: nn.BatchNorm1d) -> tuple[Tensor, Tensor, Tensor]:
    """A linear layer and the BatchNorm after it, in eval mode -> weight [C, D], mean [C] and shift [C]: their scores of
    x are x @ weight.T - mean + shift."""
    assert norm.running_mean is not None
    assert norm.running_var is not None
    scale = norm.weight / (norm.running_var + norm.eps).sqrt()  # [C]
    return scale[:, None] * rows.weight, scale * (norm.running_mean - rows.bias), norm.bias


def lengths(weight: Tensor) -> Tensor:
    """Lengths of rows [C, D], [C, 1]; 1 for a row of zeros."""
    norm = torch.linalg.vector_norm(weight, dim=1, keepdim=True)
    return torch.where(norm > 0, norm, 1)


def weights(weight: Tensor, taus: Sequence[float] = TAUS) -> Tensor:
    """Classifier rows [C, D] -> normalized rows for each tau, [T, C, D]; a row of zeros stays zero."""
    return torch.stack([weight / lengths(weight) ** tau for tau in taus])


def logits(x: Tensor, weight: Tensor, taus: Sequence[float] = TAUS) -> Tensor:
    """Scores of features x [N, D] for each tau, [N, T, C]."""
    return torch.einsum("nd,tcd->ntc", x, weights(weight, taus))
