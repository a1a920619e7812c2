"""What works here: packages, loaders, decoders, renderers and devices, each tried; cores, memory and disk.

python tools/doctor.py
python tools/doctor.py --json > doctor.json
"""

import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

from viewstream.shards.cli import parse, run
from viewstream.shards.environment import environment
from viewstream.shards.errors import EXTRAS, installed

TEST_BYTES = 64 << 20  # written and read to see what a disk does
LIMIT = 300  # seconds for all trials: a first one may compile kernels
SHARED = Path("/dev/shm")


@dataclass(frozen=True)
class Doctor:
    """What to look at"""

    disk: Annotated[Path, "folder whose disk is tried"] = Path()
    trials: Annotated[bool, "try every loader, decoder, renderer and device"] = True
    json: Annotated[bool, "print JSON"] = False


def examined(options: Doctor) -> dict[str, Any]:
    """Everything that the doctor finds."""
    page = {"environment": environment(), "gpus": gpus(), "disk": disk(options.disk), "missing": missing()}
    if options.trials and installed("torch"):
        page["trials"] = trials()
    return page


def missing() -> dict[str, list[str]]:
    """Extras of which packages are missing -> those packages."""
    absent: dict[str, list[str]] = {}
    for package, extra in EXTRAS.items():
        top = package.partition(".")[0]
        if not installed(package) and top not in absent.setdefault(extra, []):
            absent[extra].append(top)
    return {extra: packages for extra, packages in absent.items() if packages}


def gpus() -> list[str]:
    """Names and memory of GPUs, with driver; none without nvidia-smi."""
    if not shutil.which("nvidia-smi"):
        return []
    asked = ["nvidia-smi", "--query-gpu=name,memory.total,driver_version", "--format=csv,noheader"]
    done = subprocess.run(asked, capture_output=True, text=True, check=False)
    return done.stdout.splitlines() if not done.returncode else []


def disk(folder: Path) -> dict[str, Any]:
    """Free space, shared memory, and MB/s of writing with a sync and of reading what was written."""
    page: dict[str, Any] = {"folder": str(folder.resolve()), "free_gb": round(shutil.disk_usage(folder).free / 1e9, 1)}
    if SHARED.exists():
        page["shared_memory_gb"] = round(shutil.disk_usage(SHARED).free / 1e9, 1)
    try:
        with tempfile.TemporaryFile(dir=folder) as file:
            begin = time.perf_counter()
            file.write(os.urandom(1 << 20) * (TEST_BYTES >> 20))
            file.flush()
            os.fsync(file.fileno())
            page["write_mb_s"] = round(TEST_BYTES / 1e6 / (time.perf_counter() - begin))
            if hasattr(os, "posix_fadvise"):
                os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
            file.seek(0)
            begin = time.perf_counter()
            while file.read(1 << 20):
                pass
            page["read_mb_s"] = round(TEST_BYTES / 1e6 / (time.perf_counter() - begin))
    except OSError as error:
        page["fault"] = f"cannot be written ({error.strerror})"
    return page


def trials() -> list[dict[str, Any]]:
    """What each trial came to, from a process of its own."""
    with tempfile.TemporaryDirectory(prefix="viewstream-doctor-") as folder:
        code = f"from pathlib import Path; from viewstream.tools.doctor_trials import main; main(Path({folder!r}))"
        environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}  # the code that runs here
        call, quiet = [sys.executable, "-c", code], subprocess.DEVNULL
        process = subprocess.Popen(call, text=True, env=environment, stdout=subprocess.PIPE, stderr=quiet)
        try:
            out, _ = process.communicate(timeout=LIMIT)
            end = _end_of(process.returncode)
        except subprocess.TimeoutExpired:
            process.kill()
            out, end = process.communicate()[0], f"did not end within {LIMIT} s"
    found: dict[str, dict[str, Any]] = {}
    for line in out.splitlines():
        if line.startswith("{"):
            row = json.loads(line)
            found[row["trial"]] = {"works": False, "words": end, **found.get(row["trial"], {}), **row}
    return [*found.values()] or [{"trial": "any", "works": False, "words": end}]


def _end_of(code: int) -> str:
    if code < 0:
        return f"the process was ended by {signal.Signals(-code).name}: a library does not fit this machine"
    return f"the process ended with code {code}"


def text(page: dict[str, Any]) -> str:
    """The findings as lines."""
    about, place = page["environment"], page["disk"]
    lines = [
        f"viewstream {' '.join(filter(None, (about['versions'].get('viewstream'), about['commit'])))}, "
        f"Python {about['python']}, {about['system']}",
        f"{about['cores']} cores ({about['processor']}), {about['memory_gb']} GB memory, "
        f"{place.get('shared_memory_gb', 0)} GB shared memory",
        *(f"GPU {name}" for name in page["gpus"] or ["none that nvidia-smi names"]),
        f"disk of {place['folder']}: {place['free_gb']} GB free, "
        + (place.get("fault") or f"writes {place['write_mb_s']} MB/s, reads {place['read_mb_s']} MB/s"),
        "packages: " + ", ".join(f"{name} {number}" for name, number in about["versions"].items()),
    ]
    for trial in page.get("trials", []):
        lines.append(f"  {'works' if trial['works'] else 'FAILS':<6} {trial['trial']:<26} {trial['words']}")
    if "trials" not in page:
        lines.append("nothing was tried" + ("" if installed("torch") else ": torch is not installed"))
    for extra, packages in page["missing"].items():
        lines.append(f"missing: {', '.join(packages)}: pip install 'viewstream[{extra}]'")
    return "\n".join(lines)


def main() -> None:
    (options,) = parse(Doctor(), description=__doc__ or "")
    page = examined(options)
    print(json.dumps(page, indent=1) if options.json else text(page))


if __name__ == "__main__":
    run(main)
