"""The main job, small and for real: images -> shards -> MoCo -> kNN, by the commands a user would type.

Textures stand in for ImageNet (tools/textures.py); the training set has the long-tailed shape of lt6. Images and
shards are kept for the next time, the run itself starts anew.
"""

import json
import os
import shutil
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import torch

from viewstream.shards.cli import parse, run
from viewstream.shards.errors import UserError


@dataclass(frozen=True)
class Demo:
    """How to run it"""

    ranks: Annotated[int, "training processes (gloo without a GPU each)", 1] = 1
    seed: Annotated[int, "of order, draws and weights"] = 0
    epochs: Annotated[int, "of training", 1] = 30
    loader: Annotated[str, "reader to the shards: ffcv or webdataset; default ffcv where it is installed"] = ""
    work: Annotated[str, "folder for images and shards"] = "data/demo"
    out: Annotated[str, "folder for the run; what an earlier demo left there is removed"] = "runs/demo"


def call(*words: object) -> None:
    """Run one command, shown as it could be typed."""
    shown = [str(w) for w in words]
    print("\n$ " + " ".join(["python", *shown]), flush=True)
    done = subprocess.run([sys.executable, *shown], check=False)
    if done.returncode:
        raise UserError(f"{shown[0]} ended with code {done.returncode}: its message above says why")


def pictures(work: Path) -> None:
    making = work / "textures.partial"
    if not (work / "textures").exists():
        shutil.rmtree(making, ignore_errors=True)
        call("tools/textures.py", "--out", making, "--train", 250, "--val", 50)
        making.rename(work / "textures")


def shards(work: Path) -> None:
    small = ("--source", work / "textures", "--max-side", 160)
    if not (work / "train" / "dataset.json").exists():
        call("tools/build_shards.py", *small, "--subset", "lt6", "--draw-subset", "--out", work / "train")
    if not (work / "val" / "dataset.json").exists():
        call("tools/build_shards.py", *small, "--split", "val", "--out", work / "val")


def training(options: Demo, work: Path, loader: str) -> None:
    out = Path(options.out)
    if out.exists() and any(out.iterdir()) and not (out / "config.json").exists():
        raise UserError(f"{out} holds something else than a run: name a new folder with --out")
    shutil.rmtree(out, ignore_errors=True)
    device = "cpu" if options.ranks > torch.cuda.device_count() else "auto"
    start = ["-m", "torch.distributed.run", "--standalone", f"--nproc-per-node={options.ranks}"]
    call(
        *(start if options.ranks > 1 else []), "trainers/train.py", "--recipe", "moco_v1", "--loader", loader,
        "--data", work / "train", "--val", work / "val", "--arch", "test_resnet", "--size", 64,
        "--epochs", options.epochs, "--batch-size", 64, "--lr", 0.06, "--queue", 512, "--key-momentum", 0.99,
        "--bn-groups", 2, "--seed", options.seed, "--device", device, "--eval-every", 6,
        "--knn-k", 20, "--out", options.out,
    )  # fmt: skip


def evaluation(options: Demo, work: Path, loader: str) -> dict[str, dict[str, float]]:
    """Both networks' numbers, trained and as initialized."""
    for more in ([], ["--untrained"]):
        call(
            "trainers/evaluate.py", "--task", "knn", "--checkpoint", f"{options.out}/last.pt", "--k", 20,
            "--data", work / "train", "--val", work / "val", "--loader", loader, *more,
        )  # fmt: skip
    return json.loads(Path(options.out, "results.json").read_text())


def curves(folder: Path, untrained: float, chance: float) -> Path:
    """Loss over steps, kNN accuracy over epochs."""
    import matplotlib.pyplot as plt

    rows = [json.loads(line) for line in (folder / "log.jsonl").read_text().splitlines()]
    losses = [(r["step"], r["loss"]) for r in rows if "loss" in r]
    scores = [(r["step"], r["knn"]) for r in rows if "knn" in r]
    figure, (left, right) = plt.subplots(1, 2, figsize=(9, 3.2), layout="constrained")
    left.plot(*zip(*losses, strict=True), color="#17bebb")
    left.set(title="contrastive loss", xlabel="optimiser step")
    right.plot(*zip(*scores, strict=True), color="#e4572e", marker="o", label="trained")
    right.axhline(untrained, color="grey", linestyle="--", label="untrained network")
    right.axhline(chance, color="lightgrey", linestyle=":", label="chance")
    right.set(title="weighted kNN top-1 on held-out images", xlabel="optimiser step", ylim=(0, 1))
    right.legend(loc="lower right")
    figure.savefig(folder / "curves.png", dpi=110)
    return folder / "curves.png"


def main() -> None:
    (options,) = parse(Demo(), description=__doc__ or "")
    begun, work, folder = time.monotonic(), Path(options.work), Path(options.out)
    os.chdir(Path(__file__).parents[1])
    from importlib.util import find_spec

    loader = options.loader or ("ffcv" if find_spec("ffcv") else "webdataset")
    if loader != "ffcv" and not options.loader:
        print("ffcv is not installed (see the set-up's message): the demo reads the same images through the tars")
    pictures(work)
    shards(work)
    training(options, work, loader)
    results = evaluation(options, work, loader)
    trained, untrained = (results[n]["knn/top1 k=20 T=0.07"] for n in ("knn", "knn untrained"))
    chance = 1 / len(json.loads((work / "train" / "dataset.json").read_text())["classes"])
    picture = curves(folder, untrained, chance)
    sheet = folder / "views.png"
    call(
        "tools/look.py",
        "--data",
        work / "train",
        "--views",
        "moco_v1",
        "--renderers",
        "device",
        "--size",
        64,
        "--ids",
        "0-5",
        "--out",
        sheet,
    )
    print(f"\nkNN top-1: {trained:.1%} trained, {untrained:.1%} untrained network, {chance:.1%} chance")
    print(f"curves: {picture}   views: {sheet}   all of it took {time.monotonic() - begun:.0f} s")
    if trained < untrained + 0.1:
        raise UserError("the trained network is not clearly better than the untrained one: this run did not learn")


if __name__ == "__main__":
    run(main)
