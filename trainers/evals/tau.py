"""tau-normalized classifiers: weight rows of frequent classes grow long, so each is divided by its length to the tau.

    w_c / |w_c|^tau, without bias        tau = 0, 0.1, ... 1

arXiv:1910.09217; spec balfeat_seed 5.
"""

from collections.abc import Iterator, Sequence

import torch
from torch import Tensor

from .classify import accuracy
from .shots import Rule, shots

TAUS = tuple(step / 10 for step in range(11))


def tau_norm(
    x: Tensor, weight: Tensor, labels: Tensor, counts: Tensor, *, taus: Sequence[float] = TAUS, rule: Rule = "balfeat"
) -> Iterator[tuple[str, float]]:
    """Yield many, medium, few, all and top-5 for each tau. Features x [N, D], weight [C, D], training counts [C]."""
    for tau in taus:
        scores = x @ weights(weight, (tau,))[0].T  # [N, C]
        yield from ((f"tau={tau:g} {name}", value) for name, value in shots(scores, labels, counts, rule=rule))
        yield from ((f"tau={tau:g} {name}", value) for name, value in accuracy(scores, labels, (5,)))


def weights(weight: Tensor, taus: Sequence[float] = TAUS) -> Tensor:
    """Classifier rows [C, D] -> normalized rows for each tau, [T, C, D]; a row of zeros stays zero."""
    norm = torch.linalg.vector_norm(weight, dim=1, keepdim=True)  # [C, 1]
    norm = torch.where(norm > 0, norm, 1)
    return torch.stack([weight / norm**tau for tau in taus])


def logits(x: Tensor, weight: Tensor, taus: Sequence[float] = TAUS) -> Tensor:
    """Scores of features x [N, D] for each tau, [N, T, C]."""
    return torch.einsum("nd,tcd->ntc", x, weights(weight, taus))
