"""The precision of an evaluation: fp32 in full unless another is asked for, because features are compared closely."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Literal

import torch

from ...shards.errors import UserError

Precision = Literal["fp32", "bf16", "fp16"]
DTYPES: dict[str, torch.dtype] = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}


def dtype_of(precision: Precision, device: torch.device) -> torch.dtype:
    """The dtype of a network's products. UserError for fp16 without a GPU."""
    if precision == "fp16" and device.type != "cuda":
        raise UserError("--precision fp16 needs a GPU, whose products of fp16 are fast: take bf16 or fp32")
    return DTYPES[precision]


@contextmanager
def without_tf32() -> Iterator[None]:
    """Inside, fp32 convolutions and matrix products keep their 23 bits: torch lets cuDNN round to the 10 of TF32."""
    backends: tuple[Any, ...] = (torch.backends.cudnn, torch.backends.cuda.matmul)
    before = [backend.allow_tf32 for backend in backends]
    try:
        for backend in backends:
            backend.allow_tf32 = False
        yield
    finally:
        for backend, was in zip(backends, before, strict=True):
            backend.allow_tf32 = was
