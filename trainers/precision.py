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
    cudnn, matmul = torch.backends.cudnn, torch.backends.cuda.matmul
    newer = hasattr(cudnn, "conv")  # since torch 2.9
    owners: list[Any] = [cudnn.conv, cudnn.rnn, matmul] if newer else []  # pyright: ignore[reportAttributeAccessIssue]
    before = [owner.fp32_precision for owner in owners]
    on = (before[0] == "tf32", before[2] == "tf32") if before else (cudnn.allow_tf32, matmul.allow_tf32)
    try:
        _switch((False, False), owners, ["ieee"] * len(owners))
        yield
    finally:
        _switch(on, owners, before)


def _switch(on: tuple[Any, Any], owners: list[Any], precisions: list[str]) -> None:
    """Set the older flags of cuDNN and of matrix products, then the newer ones: torch refuses to read flags that
    differ."""
    backends: tuple[Any, ...] = (torch.backends.cudnn, torch.backends.cuda.matmul)
    for backend, one in zip(backends, on, strict=True):
        backend.allow_tf32 = one
    for owner, precision in zip(owners, precisions, strict=True):
        owner.fp32_precision = precision
