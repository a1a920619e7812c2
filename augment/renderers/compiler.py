"""Whether torch.compile works on a device and is wanted there, and functions compiled by it."""

import importlib.util
import os
import shutil
import sysconfig
from collections.abc import Callable
from itertools import count
from pathlib import Path
from types import FunctionType
from typing import Any, Literal

import torch

from ...shards.errors import UserError

Choice = Literal["auto", "on", "off"]
_numbers = count()


def wanted(choice: Choice, device: torch.device) -> bool:
    """Whether to compile on `device`; auto: on a GPU, where that works. UserError for `on` where it does not."""
    if choice == "off" or (choice == "auto" and device.type != "cuda"):
        return False
    if (lack := missing(device)) and choice == "on":
        raise UserError(f"--compile on: torch.compile does not work on {device}: {lack}; choose --compile off")
    return not lack


def compiled(function: FunctionType, *, dynamic: bool) -> Callable[..., Any]:
    """`function` as one graph without breaks and without gradients, since torch would compile it again for these. It is
    a copy with a cache of its own, since torch compiles one function eight times at most."""
    code = function.__code__.replace(co_name=f"{function.__name__}_{next(_numbers)}")
    copy = FunctionType(code, function.__globals__, code.co_name, function.__defaults__, function.__closure__)
    copy.__kwdefaults__ = function.__kwdefaults__
    return torch.no_grad()(torch.compile(copy, fullgraph=True, dynamic=dynamic))


def missing(device: torch.device) -> str:
    """What torch.compile lacks on `device`; empty if it works there."""
    if device.type == "cuda":
        if not importlib.util.find_spec("triton"):
            return "the package triton is not installed"
        if torch.cuda.get_device_capability(device) < (7, 0):
            return f"{torch.cuda.get_device_name(device)} is older than the compute capability 7.0 that triton needs"
        if not (os.environ.get("CC") or shutil.which("gcc") or shutil.which("clang")):  # for what calls its kernels
            return "no C compiler is on the PATH, which triton needs"
        if not Path(headers := sysconfig.get_paths()["include"], "Python.h").is_file():
            return f"{headers} lacks the header Python.h, which triton needs"
        return ""
    from torch._inductor.cpp_builder import get_cpp_compiler
    from torch._inductor.exc import InvalidCxxCompiler

    try:
        get_cpp_compiler()
    except InvalidCxxCompiler:
        return "no C++ compiler is on the PATH"
    return ""
