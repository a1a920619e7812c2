"""What a measurement depends on besides the code: the machine, its load, versions, and the state of the code."""

import functools
import hashlib
import os
import platform
from pathlib import Path
from typing import Any

from viewstream.shards.engine import cores
from viewstream.shards.environment import commit, memory_gb, processor, versions

ROOT = Path(__file__).parents[3]
PACKAGES = ("torch", "torchvision", "numpy", "numba", "simplejpeg", "opencv-python", "ffcv", "nvidia-dali-cuda130")
MORE_PACKAGES = ("webdataset", "kornia", "litdata", "mosaicml-streaming", "spdl")


def stamp() -> dict[str, Any]:
    """What is saved beside figures: processor, cores, memory, versions, commit, digest of the code, and load."""
    return {
        "cpu": processor(),
        "cores": cores(),
        "memory_gb": memory_gb(),
        "python": platform.python_version(),
        "versions": versions(*PACKAGES, *MORE_PACKAGES),
        "commit": commit() or "unknown",
        "code": code(),
        "load": round(os.getloadavg()[0], 2),
    }


@functools.cache
def code() -> str:
    """A digest of the package's Python files, without tests: equal code measures the same thing."""
    digest = hashlib.sha256()
    for path in sorted(ROOT.glob("[!.]*/**/*.py")):
        if path.relative_to(ROOT).parts[0] not in ("tests", "build", "data", "runs"):
            digest.update(path.read_bytes())
    return digest.hexdigest()[:16]


def busy_seconds() -> float:
    """Seconds that all cores of the machine have worked so far, for any program; 0 without /proc."""
    path = Path("/proc/stat")
    if not path.exists():
        return 0.0
    ticks = list(map(int, path.read_text().partition("\n")[0].split()[1:9]))
    return (sum(ticks) - ticks[3] - ticks[4]) / os.sysconf("SC_CLK_TCK")  # without idle and waiting for disks


def memory(field: str) -> float:
    """A figure of /proc/self/status in MiB: VmRSS is the memory of this process now, VmHWM the most it had."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) / 1024 for line in lines if line.startswith(field))
