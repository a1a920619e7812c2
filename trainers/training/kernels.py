"""Which kernels a GPU takes: the fastest for a run, or those that repeat their results to the last bit."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
import torch.utils.deterministic

from ...shards.errors import UserError
from .options import Run

_NAME, _EXACT = "CUBLAS_WORKSPACE_CONFIG", (":4096:8", ":16:8")


def reserve_workspace(run: Run) -> None:
    """Name the workspace with which cuBLAS repeats its results, for a run with --deterministic; call it before CUDA
    starts. UserError if it is too late, or if the environment names another."""
    if not run.deterministic or run.device == "cpu" or not torch.cuda.is_available():
        return
    if not torch.cuda.is_initialized():
        os.environ.setdefault(_NAME, _EXACT[0])
    if (given := os.environ.get(_NAME)) not in _EXACT:
        fact = "CUDA has started without" if given is None else f"the environment has {_NAME}={given} instead of"
        raise UserError(
            f"{fact} the workspace with which cuBLAS repeats its results, as --deterministic asks: start with "
            f"{_NAME}={_EXACT[0]} in the environment"
        )


@contextmanager
def kernels(run: Run, device: torch.device) -> Iterator[None]:
    """The choice of kernels on `device`, a GPU, inside; a CPU has no such choice."""
    if device.type != "cuda":
        yield
        return
    cudnn: Any = torch.backends.cudnn
    before, algorithms = (cudnn.benchmark, cudnn.deterministic), torch.are_deterministic_algorithms_enabled()
    lenient = torch.is_deterministic_algorithms_warn_only_enabled()
    exact = run.deterministic or cudnn.deterministic or algorithms  # a program may have asked for it already
    cudnn.benchmark, cudnn.deterministic = not exact, exact
    torch.use_deterministic_algorithms(run.deterministic or algorithms, warn_only=lenient and not run.deterministic)
    memory: Any = torch.utils.deterministic
    fills, memory.fill_uninitialized_memory = memory.fill_uninitialized_memory, False  # every batch: it is all written
    try:
        yield
    finally:
        cudnn.benchmark, cudnn.deterministic = before
        torch.use_deterministic_algorithms(algorithms, warn_only=lenient)
        memory.fill_uninitialized_memory = fills


def described(run: Run, device: torch.device) -> str:
    """What the first lines of a run say about --deterministic; empty without it."""
    if not run.deterministic:
        return ""
    if device.type == "cuda":
        return "kernels repeat their results to the last bit"
    return "--deterministic is for GPUs alone: a CPU repeats its results anyway"
