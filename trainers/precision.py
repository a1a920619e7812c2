"""Precisions by name, and TF32, to which a GPU may round the factors of fp32 products."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch

from ..shards.errors import UserError

DTYPES: dict[str, torch.dtype] = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}


def dtype_of(precision: str, device: torch.device) -> torch.dtype:
    """The dtype of a network's products. UserError for fp16 without a GPU."""
    if precision == "fp16" and device.type != "cuda":
        raise UserError("--precision fp16 needs a GPU: take bf16 or fp32")
    return DTYPES[precision]


def tf32() -> str:
    """Where a GPU rounds the factors of fp32 products to the 10 bits of TF32; torch's default is convolutions alone."""
    matmul, cudnn = torch.backends.cuda.matmul, torch.backends.cudnn
    if os.environ.get("NVIDIA_TF32_OVERRIDE") == "0":
        on = False, False
    elif hasattr(cudnn, "conv"):  # since torch 2.9, where reading the older flags can be an error
        on = matmul.fp32_precision == "tf32", cudnn.conv.fp32_precision == "tf32"
    else:
        on = matmul.allow_tf32, cudnn.allow_tf32
    matrices, convolutions = ("on" if one else "off" for one in on)
    return f"{matrices} for matrix products, {convolutions} for convolutions"


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
