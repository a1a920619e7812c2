"""Everything that wants a GPU, in parts of at most nine minutes each: `make gpu`, or `make gpu PART=sync`.

    parity   the tests marked gpu; differences between the views of every GPU path and those of the CPU
    sync     every method for 50 steps of `train`, eager and compiled, in bf16, where waiting for the GPU is an error
    train    what limits a step (headspace) for MoCo, BYOL and SEED on three networks, peak memory, and the speed over
             the same network in fp32, eager, NCHW, without TF32
    bench    samples per second of every loader, and of the renderers

Images are generated. Each case runs in a process of its own; its figures go into docs/results/<gpu>/<part>.json at
once, and a part that runs again measures what is missing or failed. table.md there shows all of them.
"""

import re
import subprocess
import sys
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Annotated, Any, Literal

from viewstream.shards.cli import parse, run
from viewstream.shards.errors import UserError
from viewstream.shards.files import PAGE, atomic, make_folder
from viewstream.tools.bench.measuring.apart import Case
from viewstream.tools.bench.measuring.part import run_part
from viewstream.tools.bench.on_gpu.table import PLAIN, table
from viewstream.tools.textures import CLASSES

ROOT = Path(__file__).parents[2]
METHODS = ("moco", "kcl", "byol", "sts", "m2t", "seed", "supervised")
NETWORKS = ("resnet50", "resnet18", "mobilenetv3_large")
PATHS: dict[str, dict[str, Any]] = {
    "host crops": {"loader": "webdataset", "crops": "host"},
    "device crops": {"loader": "webdataset", "crops": "device"},
    "GPU decoding": {"loader": "webdataset", "crops": "device", "decode": "gpu"},
    "DALI": {"loader": "dali"},
    "memory": {"loader": "memory"},
}
PER_CLASS = 1024  # images of each of 12 classes: an epoch is longer than what is timed, since its start is slower


@dataclass(frozen=True)
class Gpu:
    """What to run"""

    part: Annotated[Literal["all", "parity", "sync", "train", "bench"], "part to run"] = "all"
    minutes: Annotated[float, "time for a part; what is left then waits for the next run", 0.1] = 9.0
    work: Annotated[Path, "folder for generated images and shards"] = Path("data/gpu")


def cases(data: Path) -> dict[str, dict[str, Case]]:
    """The cases of each part by name, on the built set `data`."""
    from viewstream.tools.bench.on_gpu.loaders import gap, rate, script  # with torch, after --help, which needs none
    from viewstream.tools.bench.on_gpu.steps import headspace, plain, without_waiting

    sync: dict[str, Case] = {
        f"{method}, {'compiled' if compiled else 'eager'}": partial(without_waiting, method, data, compiled=compiled)
        for compiled in (False, True)
        for method in METHODS
    }
    runs = [(method, arch) for arch in NETWORKS for method in ("moco", "byol", "seed")]
    train: dict[str, Case] = {f"{method}, {arch}": partial(headspace, method, arch, data) for method, arch in runs}
    train |= {f"{method}, {arch}{PLAIN}": partial(plain, method, arch, data) for method, arch in runs}
    parity: dict[str, Case] = {"tests": tests}
    parity |= {name: partial(gap, data, options) for name, options in PATHS.items()}
    bench: dict[str, Case] = {name: partial(rate, data, options) for name, options in PATHS.items()}
    bench["loaders"] = partial(script, "loader.py", "--data", data, "--loader", "all", "--rounds", 3)
    bench["renderers"] = partial(script, "augment.py", "--data", data, "--batch-size", 256)
    return {"parity": parity, "sync": sync, "train": train, "bench": bench}


def tests() -> dict[str, Any]:
    """Run the tests marked gpu."""
    command = [sys.executable, "-m", "pytest", "-q", "-m", "gpu", "tests"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    print(done.stdout[-4000:], flush=True)
    if done.returncode:
        raise RuntimeError(done.stdout.strip().rpartition("\n")[2])
    return {"tests": done.stdout.strip().rpartition("\n")[2]}


def built(work: Path) -> Path:
    """The generated images as a set in all formats, built on first use. UserError for a part of the images alone."""
    images, data = work / "textures", work / "train"
    if not images.exists():
        _made("textures.py", "--out", images, "--train", PER_CLASS, "--val", 0)
    if not (data / PAGE).exists():
        if (count := len([*images.glob("train/*/*")])) != PER_CLASS * len(CLASSES):
            raise UserError(f"{images} has {count} images of {PER_CLASS * len(CLASSES)}: remove it, and start again")
        _made("build_shards.py", "--source", images, "--out", data, "--format", "webdataset,ffcv,folder")
    return data


def _made(program: str, *words: object) -> None:
    done = subprocess.run([sys.executable, str(ROOT / "tools" / program), *map(str, words)], check=False)
    if done.returncode:
        raise UserError(f"{program} ended with code {done.returncode}: its message above names the reason")


def main() -> None:
    (options,) = parse(Gpu(), description=__doc__ or "")

    import torch

    if not torch.cuda.is_available():
        raise UserError("torch finds no GPU: run this on a machine with one; `make test` checks GPU code without one")
    name = re.sub(r"\W+", "-", torch.cuda.get_device_name()).strip("-").lower()
    out = ROOT / "docs" / "results" / name
    make_folder(out)
    todo, whole = cases(built(options.work.resolve())), True
    for part in todo if options.part == "all" else (options.part,):
        whole &= run_part(todo[part], out / f"{part}.json", options.minutes)
        with atomic(out / "table.md", "w") as file:
            file.write(table(out))
    if not whole:
        raise UserError(f"cases failed or are missing: {out / 'table.md'} lists them")


if __name__ == "__main__":
    run(main)
