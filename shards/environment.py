"""What numbers depend on besides options and data: versions, the state of the code, the machine."""

import functools
import os
import platform
import subprocess
import time
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from .engine import cores
from .programs import CONSOLE, ROOT

OURS = (CONSOLE, "torch", "torchvision", "timm", "numpy", "pyarrow", "numba", "simplejpeg", "pillow", "webdataset")
OTHERS = ("kornia", "ffcv", "nvidia-dali-cuda130", "torchcodec", "turbojpeg", "ray", "fsspec", "s3fs")


def environment() -> dict[str, Any]:
    """What is saved with the numbers of a run and shown in its report."""
    return {
        "time": time.strftime("%Y-%m-%d %H:%M:%S %z"),
        "host": platform.node(),
        "system": platform.platform(terse=True),
        "processor": processor(),
        "cores": cores(),
        "memory_gb": memory_gb(),
        "python": platform.python_version(),
        "commit": commit(),
        "versions": versions(*OURS, *OTHERS),
    }


def versions(*packages: str) -> dict[str, str]:
    """The versions of those packages that are installed."""
    found = {}
    for name in packages:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue
    return found


@functools.cache
def commit() -> str:
    """The commit of the checkout that runs, with `-dirty` if files differ from it; "" outside of one."""
    if not (ROOT / ".git").exists():
        return ""
    call = ["git", "-C", str(ROOT), "describe", "--always", "--dirty", "--exclude=*"]
    try:
        return subprocess.run(call, capture_output=True, text=True, check=False).stdout.strip()
    except OSError:  # no git here
        return ""


def memory_gb() -> int:
    """Memory of the machine, GB."""
    return round(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 1e9)


def processor() -> str:
    """The name of the processor."""
    path = Path("/proc/cpuinfo")
    lines = path.read_text().splitlines() if path.exists() else []
    return next((line.partition(": ")[2] for line in lines if line.startswith("model name")), platform.processor())
