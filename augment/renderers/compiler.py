"""Whether torch.compile works on a device."""

import importlib.util
import os
import shutil
import sysconfig
from pathlib import Path

import torch


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
