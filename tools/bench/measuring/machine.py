"""What a measurement depends on besides the code: the machine, its load, versions, and the state of the code."""

import functools
import hashlib
import os
import platform
import subprocess
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from viewstream.shards.engine import cores

ROOT = Path(__file__).parents[3]
PACKAGES = ("torch", "torchvision", "numpy", "numba", "simplejpeg", "opencv-python", "ffcv", "nvidia-dali-cuda130")
MORE_PACKAGES = ("webdataset", "kornia", "litdata", "mosaicml-streaming", "spdl")


def stamp() -> dict[str, Any]:
    """What is saved beside figures: processor, cores, memory, versions, commit, digest of the code, and load."""
    return {
        "cpu": _processor(),
        "cores": cores(),
        "memory_gb": round(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 1e9),
        "python": platform.python_version(),
        "versions": {name: found for name in (*PACKAGES, *MORE_PACKAGES) if (found := _version(name))},
        "commit": _commit(),
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


def _processor() -> str:
    path = Path("/proc/cpuinfo")
    lines = path.read_text().splitlines() if path.exists() else []
    return next((line.partition(": ")[2] for line in lines if line.startswith("model name")), platform.processor())


def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return ""


def _commit() -> str:
    command = ["git", "-C", str(ROOT), "describe", "--always", "--dirty", "--exclude=*"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    return done.stdout.strip() or "unknown"
