"""What features have to be before numbers are made of them: finite, and not the same for every image."""

import torch
import torch.nn.functional as F
from torch import Tensor

from ...shards.errors import UserError

SAMPLE = 4096  # rows that `spread` looks at
CONSTANT = 1e-4  # ResNet-50 with random weights has 17 times this spread on photographs, most networks far more


def require_finite(x: Tensor, kind: str = "features", dtype: torch.dtype = torch.float32) -> None:
    """UserError for features or scores [N, D] with a value that is nan or inf. `dtype`: of the network's products."""
    if not x.numel():
        return
    low, high = x.aminmax(dim=1)  # nan if there is one; a mask of all values would be a copy of the bank
    if bad := int((~(low.isfinite() & high.isfinite())).sum()):
        cause, remedy = "the checkpoint is damaged or its training diverged", "name an earlier --checkpoint"
        if dtype == torch.float16:
            cause, remedy = "they exceed the range of fp16, or " + cause, "take --precision fp32, or " + remedy
        raise UserError(f"{kind} are not finite for {bad} of {len(x)} images: {cause}; {remedy}")


def spread(x: Tensor) -> float:
    """Mean squared distance of unit features x [N, D] to their mean: 0 for equal rows, at most 1."""
    unit = F.normalize(x[:: -(-len(x) // SAMPLE)].double(), dim=1)
    return float((unit - unit.mean(dim=0)).square().sum(dim=1).mean())


def constant(x: Tensor) -> str:
    """A warning if features [N, D] are nearly the same for every image, else an empty string."""
    if len(x) < 2 or (found := spread(x)) >= CONSTANT:
        return ""
    return (
        f"warning: the features of {len(x)} images are nearly constant (mean squared distance of unit features to "
        f"their mean: {found:.0e}): the network has collapsed, and its numbers say little"
    )
