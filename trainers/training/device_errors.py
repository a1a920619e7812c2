"""Errors of a device that the options of a run can mend: full memory, operations that no exact kernel has."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import torch

from ...shards.errors import UserError
from ..checkpoints.files import from_before
from ..ranks import world_size
from ..recipes.options import Recipe
from .precision import resolved

ENDS = "; last.pt is from before: more --ranks continue it, another recipe needs another --out"


@contextmanager
def device_errors(
    recipe: Recipe, device: torch.device, folder: Path | None, takes_parts: Callable[[], bool]
) -> Iterator[None]:
    """Let memory that is full, and operations that --deterministic rules out, be a UserError that names the remedies.

    `folder`: of the run, if it has one. `takes_parts`: whether the method takes a batch in twice as many parts.
    """
    try:
        yield
    except RuntimeError as error:  # torch.OutOfMemoryError is one; cuDNN, cuBLAS and the driver raise it plainly
        words = str(error)
        if isinstance(error, torch.OutOfMemoryError) or "out of memory" in words:
            raise UserError(_full(recipe, device, folder, takes_parts())) from error
        if "does not have a deterministic implementation" in words:
            raise UserError(
                f"--deterministic rules out {words.split()[0]} of --arch {recipe.arch}, of which torch has no exact "
                f"kernel: take another --arch, or leave out --deterministic"
            ) from error
        raise


def _full(recipe: Recipe, device: torch.device, folder: Path | None, takes_parts: bool) -> str:
    flags = ["a smaller --batch-size"]
    flags += [f"--accumulate {2 * recipe.accumulate}"] if takes_parts else []
    flags += ["--precision bf16"] if resolved(recipe, device) == "fp32" else []
    first, second, third, *_ = [*flags, "a smaller --size", "more --ranks"]
    at_once = recipe.batch_size // world_size() // recipe.accumulate
    return (
        f"the memory of {_named(device)} is too small for --batch-size {recipe.batch_size} ({at_once} images at once) "
        f"at --size {recipe.size}: take {first}, {second} or {third}{ENDS if folder and from_before(folder) else ''}"
    )


def _named(device: torch.device) -> str:
    if device.type != "cuda":
        return f"the {device.type}"
    known = torch.cuda.get_device_properties(device)
    return f"{device} ({known.name}, {known.total_memory / 1e9:.0f} GB)"
