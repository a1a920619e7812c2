"""The precision of a run's forward pass on the device where it happens."""

import torch

from ..precision import dtype_of, tf32
from ..recipes.options import Recipe

_AUTO = {"auto": "bf16", "auto-fp16": "fp16"}  # on a GPU; on the CPU both are fp32


def resolved(recipe: Recipe, device: torch.device) -> str:
    """The recipe's precision on `device`: bf16, fp16 or fp32. UserError for fp16 by name without a GPU."""
    if recipe.precision in _AUTO:
        return _AUTO[recipe.precision] if device.type == "cuda" else "fp32"
    dtype_of(recipe.precision, device)  # refuses what the device does not do
    return recipe.precision


def precision(recipe: Recipe, device: torch.device) -> torch.dtype:
    """The dtype of the views and of the matrix products of the forward pass."""
    return dtype_of(resolved(recipe, device), device)


def described(recipe: Recipe, device: torch.device) -> str:
    """The precision in words, for the first lines of a run; on a GPU with the setting of TF32."""
    used = resolved(recipe, device)
    if device.type == "cuda":
        return f"{used}, TF32 {tf32()}"
    return f"{used}: fp16, as in the recipe's program, needs a GPU" if recipe.precision == "auto-fp16" else used
