"""The precision of a run's forward pass on the device where it happens."""

import os

import torch

from ...shards.errors import UserError
from ..recipes.options import Recipe

_AUTO = {"auto": "bf16", "auto-fp16": "fp16"}  # on a GPU; on the CPU both are fp32
_DTYPES = {"bf16": torch.bfloat16, "fp16": torch.float16, "fp32": torch.float32}


def resolved(recipe: Recipe, device: torch.device) -> str:
    """The recipe's precision on `device`: bf16, fp16 or fp32. UserError for fp16 by name without a GPU."""
    if recipe.precision in _AUTO:
        return _AUTO[recipe.precision] if device.type == "cuda" else "fp32"
    if recipe.precision == "fp16" and device.type != "cuda":
        raise UserError("--precision fp16 needs a GPU, whose range its loss scaling is made for: take bf16 or fp32")
    return recipe.precision


def precision(recipe: Recipe, device: torch.device) -> torch.dtype:
    """The dtype of the views and of the matrix products of the forward pass."""
    return _DTYPES[resolved(recipe, device)]


def described(recipe: Recipe, device: torch.device) -> str:
    """The precision in words, for the first lines of a run; on a GPU with the setting of TF32."""
    used = resolved(recipe, device)
    if device.type == "cuda":
        return f"{used}, TF32 {tf32()}"
    return f"{used}: fp16, as in the recipe's program, needs a GPU" if recipe.precision == "auto-fp16" else used


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
