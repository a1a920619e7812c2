"""The laws of an op of the user's own."""

import numpy as np
import torch
from torch import Tensor

from ..augment.draw import user_keys
from ..augment.renderers.user_ops import KeyedGenerator
from ..augment.spec import UserOp
from .laws import require

SAMPLES, SEED, EPOCH = 6, 3, 2


def check_op(op: UserOp, *, size: int = 32, device: torch.device | str = "cpu") -> None:
    """BrokenLaw unless an op keeps its laws on noise of `size` px.

    An op gets normalized views [N, 3, S, S] and a generator keyed by (seed, epoch, view, image); see
    `augment/renderers/user_ops.py`.
    """
    require(callable(op) and not isinstance(op, type), op, "an op is an object that can be called")
    try:
        hash(op)
    except TypeError as error:
        require(False, op, "an op is hashable, as a frozen dataclass is", str(error))
    x = torch.randn(SAMPLES, 3, size, size, generator=torch.Generator().manual_seed(0)).to(device)
    keys = _keys(np.arange(SAMPLES, dtype=np.uint64), device)
    right = _apply(op, x, keys)
    same = torch.equal(_apply(op, x, keys), right)
    require(same, op, "the same (seed, epoch, view, image) gives the same pixels")
    order = torch.randperm(SAMPLES, generator=torch.Generator().manual_seed(1)).to(device)
    require(_close(_apply(op, x[order], keys[order]), right[order]), op, "pixels do not depend on the order of a batch")
    parts = torch.cat([_apply(op, x[i : i + 1], keys[i : i + 1]) for i in range(SAMPLES)])
    require(_close(parts, right), op, "pixels do not depend on the other images of a batch")


def _apply(op: UserOp, x: Tensor, keys: Tensor) -> Tensor:
    """The op's output, after its form was checked."""
    given = x.clone()
    y = op(given, KeyedGenerator(keys))
    form = f"{list(y.shape)} {y.dtype} on {y.device}" if isinstance(y, Tensor) else type(y).__name__
    kept = isinstance(y, Tensor) and (y.shape, y.dtype, y.device) == (x.shape, x.dtype, x.device)
    require(kept, op, "an op keeps shape, dtype and device", form)
    require(bool(y.isfinite().all()), op, "an op gives finite values")
    require(torch.equal(given, x) or y.data_ptr() == given.data_ptr(), op, "an op changes nothing but what it returns")
    return y


def _close(one: Tensor, two: Tensor) -> bool:
    """Equal but for rounding: a batch may take another kernel."""
    return torch.allclose(one, two, rtol=1e-5, atol=1e-5)


def _keys(uid: np.ndarray, device: torch.device | str) -> Tensor:
    return torch.from_numpy(user_keys(uid, seed=SEED, epoch=EPOCH, number=0)).to(device)
