"""What programs leave, in a form that can be compared: without times, speeds and random bytes."""

import hashlib
import json
from pathlib import Path
from typing import Any

import numpy as np
import torch

from viewstream.shards.files import digest_of

from ..trainers.small_runs import losses, rows
from .cases import shared

Content = dict[str, Any]
LOGGED = frozenset({"run losses", "run steps", "run weights"})  # what changes in `trained` on the way


def stored(folder: Path) -> Content:
    """The digest of each file that is not called unfinished."""
    files = (path for path in folder.rglob("*") if path.is_file())
    return {
        str(path.relative_to(folder)): digest_of(path) for path in files if not unfinished(path.relative_to(folder))
    }


def unfinished(path: Path) -> bool:
    return any(part.endswith((".partial", ".lock")) or part in ("building", "repair") for part in path.parts)


def trained(folder: Path, name: str = "run") -> Content:
    """What a run holds; an error if a file of it is torn."""
    run, found = folder / name, {}
    if (run / "config.json").exists():
        found[f"{name} config"] = json.loads((run / "config.json").read_text()) | {"environment": None}  # has the time
    if (run / "last.pt").exists():
        content = torch.load(run / "last.pt", weights_only=True)
        found[f"{name} weights"] = fingerprint([content["step"], content["method"], content["optimizer"]])
    if content_is_whole(run / "log.jsonl"):
        found[f"{name} losses"], found[f"{name} steps"] = losses(run), [row["step"] for row in rows(run)]
    return found


def content_is_whole(log: Path) -> bool:
    """Whether a log is there and its last line ended; a half one is cut when the run goes on."""
    return log.exists() and log.read_bytes()[-1:] == b"\n"


def evaluated(folder: Path) -> Content:
    """Results, features and the lines that evaluations add to the log, where one may repeat."""
    lines = (row | {"time": None} for row in rows(folder / "run") if "evaluation" in row)
    found: Content = {"log": {json.dumps(row) for row in lines}}
    if (folder / "run/results.json").exists():
        found["results"] = shared("results.json", (folder / "run/results.json").read_bytes())
    for path in (folder / "kept").glob("*.npz"):
        with np.load(path) as file:
            found[path.name] = fingerprint([torch.from_numpy(file[name]) for name in file.files])
    return found


def cached(folder: Path) -> Content:
    """A run, and the cache that it shares."""
    cache = stored(folder / "cache") if (folder / "cache").exists() else {}
    return trained(folder) | {name: digest for name, digest in cache.items() if not name.endswith("remote.json")}


def staged(folder: Path) -> Content:
    """What is in a stage."""
    return {name: digest for name, digest in stored(folder).items() if not name.endswith("remote.json")}


def trained_from_stage(folder: Path, digests: frozenset[str]) -> Content:
    """A run, beside whose stage there is nothing but files with these digests; how many may depend on its speed."""
    files = (path for path in (folder / "stage/tars").glob("*") if path.name != ".alone")
    poisoned = [path.name for path in files if not unfinished(path) and digest_of(path) not in digests]
    assert not poisoned, f"{poisoned} are in the stage"
    return trained(folder)


def fingerprint(content: Any) -> str:
    """A digest of tensors and numbers in dictionaries and lists."""
    digest = hashlib.sha256()

    def add(one: Any) -> None:
        if isinstance(one, torch.Tensor):
            digest.update(f"{one.dtype}{tuple(one.shape)}".encode() + one.contiguous().numpy().tobytes())
        elif isinstance(one, dict | list | tuple):
            for item in sorted(one.items(), key=str) if isinstance(one, dict) else one:
                add(item)
        else:
            digest.update(repr(one).encode())

    add(content)
    return digest.hexdigest()
