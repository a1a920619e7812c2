"""The programs that write, on tiny data: what a folder holds before, and the commands that are tried in it."""

import io
import json
import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image

DATED = ("config.json", "results.json")  # they say when they were written
TIMED = ("time", "img_s", "wait", "_ms")  # ends of the names of values of a log that no two runs share
SET = ["--loader", "webdataset", "--data", "sets/train", "--val", "sets/val"]
TRAIN = ["trainers/train.py", "--method", "supervised", "--arch", "test_resnet", "--size", "32", "--device", "cpu"]
TRAIN += [
    "--epochs",
    "2",
    "--batch-size",
    "4",
    "--bn-groups",
    "2",
    "--save-every",
    "2",
    "--keep-every",
    "1",
    "--log-every",
    "1",
    *SET,
]
EVALUATE = ["trainers/evaluate.py", "--checkpoint", "runs/tiny/last.pt", "--device", "cpu", "--batch-size", "8", *SET]


@dataclass(frozen=True)
class Case:
    """A command, after those of the cases in `after`, and after what `prepare` does to their folder."""

    argv: list[str]
    after: tuple[str, ...] = ()
    prepare: Callable[[Path], object] = bool


def built(split: str, formats: str) -> list[str]:
    argv = ["tools/build_shards.py", "--source", "pets", "--split", split, "--out", f"sets/{split}", "--workers", "1"]
    return [*argv, "--shard-size", "10KB", "--format", formats, "--raw-fraction", "0.3"]


STATIC = ["tools/make_static.py", "--data", "sets/train", "--per-class", "1", "--size", "32", "--workers", "1"]
RUN = [*TRAIN, "--eval-every", "1", "--knn-k", "2", "--resume", "auto"]
SETS, ALL = ("build", "val"), ("build", "val", "train")


def tars(root: Path) -> None:
    """A folder with tars alone."""
    (root / "tars").mkdir()
    for path in (root / "sets/train").glob("*.tar"):
        shutil.copyfile(path, root / "tars" / path.name)


def damage(root: Path) -> None:
    """A set with a damaged tar, a damaged .beton and without an index."""
    for path in (min((root / "sets/train").glob("*.tar")), *(root / "sets/train").glob("*.beton")):
        data = bytearray(path.read_bytes())
        data[-len(data) // 3] ^= 1
        path.write_bytes(data)
    min((root / "sets/train").glob("*.idx")).unlink()


CASES = {
    "build": Case(built("train", "webdataset,ffcv,folder")),
    "val": Case(built("val", "webdataset")),
    "train": Case([*RUN, "--out", "runs/tiny"], SETS),
    "tensorboard": Case([*RUN, "--tensorboard", "--out", "runs/shown"], SETS),
    "static": Case([*STATIC, "--format", "folder,ffcv", "--out", "static/tiny"], ("build",)),
    "convert": Case(["tools/convert_checkpoint.py", "runs/tiny/last.pt", "net.pth", "--to", "moco"], ALL),
    "knn": Case([*EVALUATE, "--task", "knn", "--k", "2", "--max-k", "3", "--features", "kept"], ALL),
    "shots": Case([*EVALUATE, "--task", "shots"], ALL),
    "index": Case(["tools/index_shards.py", "tars", "--workers", "1"], ("build",), tars),
    "repair": Case(["tools/verify_shards.py", "sets/train", "--repair"], ("build",), damage),
    "figure": Case(["tools/inspect_shards.py", "sets/train"], ("build",)),
    "look": Case(["tools/look.py", "--data", "sets/train", "--size", "32", "--ids", "0", "--out", "seen/a.png"], SETS),
}


def images(root: Path) -> None:
    """A source of two classes."""
    rng = np.random.default_rng(0)
    for split, count in (("train", 4), ("val", 2)):
        for name in ("cat", "dog"):
            (root / "pets" / split / name).mkdir(parents=True)
            for n in range(count):
                pixels = rng.integers(0, 256, (40 + 5 * n, 48, 3), dtype=np.uint8)
                Image.fromarray(pixels).save(root / "pets" / split / name / f"{n}.JPEG")


def shared(name: str, data: bytes | None) -> object:
    """What resumed and undisturbed runs share in a file: all of it, but for the times in a log, the number of
    times that an evaluation is in it, and the order in which a checkpoint holds its values."""
    if data and name.endswith(".jsonl"):
        lines = filter(None, map(row_of, data.split(b"\n")))
        return [*dict.fromkeys(json.dumps({k: v for k, v in row.items() if not k.endswith(TIMED)}) for row in lines)]
    if data and name.endswith(DATED[0]):
        return json.loads(data) | {"environment": None}
    if data and name.endswith(DATED[1]):
        return {entry: page | {"time": None} for entry, page in json.loads(data).items()}
    if data and name.endswith(".pt"):
        return dict(values(torch.load(io.BytesIO(data), weights_only=True)))
    return data


def row_of(line: bytes) -> dict[str, Any]:
    """A line of a log; empty for what a crash has left of one, which is cut when the run goes on."""
    try:
        return json.loads(line)
    except ValueError:
        return {}


def values(content: object, name: str = "") -> Iterator[tuple[str, object]]:
    """(name, value) of each value in nested dictionaries and lists."""
    if isinstance(content, torch.Tensor):
        yield name, (content.dtype, content.shape, content.numpy().tobytes())
    elif isinstance(content, dict | list | tuple):
        for key, value in content.items() if isinstance(content, dict) else enumerate(content):
            yield from values(value, f"{name}.{key}")
    else:
        yield name, content
