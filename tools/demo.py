"""The main job at small scale: images -> shards -> MoCo -> kNN, by the commands that a user types.

Textures (tools/textures.py) replace ImageNet; the training set has the long-tailed class sizes of lt6. Images and
shards are kept for the next demo; the run itself starts from scratch.
"""

import json
import shutil
import subprocess
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from viewstream.shards.cli import parse, run
from viewstream.shards.errors import UserError, command, installed, needs
from viewstream.shards.files import atomic
from viewstream.shards.programs import started


@dataclass(frozen=True)
class Demo:
    """How to run the demo"""

    ranks: Annotated[int, "training processes (gloo unless each has a GPU)", 1] = 1
    seed: Annotated[int, "seed of order, draws and weights"] = 0
    epochs: Annotated[int, "training epochs", 1] = 30
    loader: Annotated[str, "reader of the shards: ffcv or webdataset; default ffcv if it is installed"] = ""
    work: Annotated[str, "folder for images and shards"] = "data/demo"
    out: Annotated[str, "folder for the run; the run of an earlier demo is removed"] = "runs/demo"


def call(*words: object, **flags: object) -> None:
    """Run the program WORDS[0] with `--flag value ...` and print the command; a flag's `_` becomes `-`. UserError if it
    fails."""
    pairs = [(f"--{name.replace('_', '-')}", value) for name, value in flags.items()]
    program, *argv = [str(word) for word in (*words, *(part for pair in pairs for part in pair))]
    print("\n$ " + command(f"python {program}", *argv), flush=True)
    finished = subprocess.run([*started(program), *argv], check=False)
    if finished.returncode:
        raise UserError(f"{program} ended with code {finished.returncode}: its message above names the reason")


def make_images(work: Path) -> None:
    if not (work / "textures").exists():
        call("tools/textures.py", out=work / "textures", train=250, val=50)


def build_sets(work: Path) -> None:
    source = {"source": work / "textures", "max_side": 160}
    if not (work / "train" / "dataset.json").exists():
        call("tools/build_shards.py", "--draw-subset", **source, subset="lt6", out=work / "train")
    if not (work / "val" / "dataset.json").exists():
        call("tools/build_shards.py", **source, split="val", out=work / "val")


def train(options: Demo, data: dict[str, object]) -> None:
    import torch  # after --help, which needs none

    out = Path(options.out)
    if out.exists() and any(out.iterdir()) and not (out / "config.json").exists():
        raise UserError(f"{out} holds something other than a run: name a new folder with --out")
    shutil.rmtree(out, ignore_errors=True)
    device = "cpu" if options.ranks > torch.cuda.device_count() else "auto"
    method = {"recipe": "moco_v1", "arch": "test_resnet", "queue": 512, "key_momentum": 0.99, "bn_groups": 2}
    schedule = {"size": 64, "epochs": options.epochs, "batch_size": 64, "lr": 0.06, "seed": options.seed}
    validation = {"eval_every": 6, "knn_k": 20}
    call("trainers/train.py", ranks=options.ranks, **data, **method, **schedule, **validation, device=device, out=out)


def evaluate(out: Path, data: dict[str, object]) -> tuple[float, float]:
    """kNN accuracy of the trained and of the initial network."""
    for untrained in ([], ["--untrained"]):
        call("trainers/evaluate.py", *untrained, task="knn", checkpoint=out / "last.pt", k=20, **data)
    entries = json.loads((out / "results.json").read_text()).values()
    results = {entry["evaluation"]: entry["knn/top1 k=20 T=0.07"] for entry in entries}
    trained, untrained = (results[name] for name in ("knn", "knn untrained"))
    return trained, untrained


def plot_curves(folder: Path, untrained: float, chance: float) -> Path:
    """Plot loss and kNN accuracy over steps to `folder`/curves.png, which is returned."""
    plt = needs("matplotlib.pyplot")
    rows = [json.loads(line) for line in (folder / "log.jsonl").read_text().splitlines()]
    losses = [(r["step"], r["loss"]) for r in rows if "loss" in r]
    scores = [(r["step"], r["knn"]) for r in rows if "knn" in r]
    figure, (left, right) = plt.subplots(1, 2, figsize=(9, 3.2), layout="constrained")
    left.plot(*zip(*losses, strict=True), color="#17bebb")
    left.set(title="contrastive loss", xlabel="optimizer step")
    right.plot(*zip(*scores, strict=True), color="#e4572e", marker="o", label="trained")
    right.axhline(untrained, color="gray", linestyle="--", label="untrained network")
    right.axhline(chance, color="lightgray", linestyle=":", label="chance")
    right.set(title="weighted kNN top-1 on held-out images", xlabel="optimizer step", ylim=(0, 1))
    right.legend(loc="lower right")
    with atomic(folder / "curves.png") as file:
        figure.savefig(file, format="png", dpi=110)
    return folder / "curves.png"


def main() -> None:
    (options,) = parse(Demo(), description=__doc__ or "")
    needs("matplotlib")  # before minutes of work
    begin, work, out = time.monotonic(), Path(options.work), Path(options.out)
    loader = options.loader or ("ffcv" if installed("ffcv") else "webdataset")
    if loader != "ffcv" and not options.loader:
        print("ffcv is not installed (see the set-up's message): the demo reads the same images from the tars")
    make_images(work)
    build_sets(work)
    data: dict[str, object] = {"data": work / "train", "val": work / "val", "loader": loader}
    train(options, data)
    trained, untrained = evaluate(out, data)
    chance = 1 / len(json.loads((work / "train" / "dataset.json").read_text())["classes"])
    curves, sheet = plot_curves(out, untrained, chance), out / "views.png"
    look = {"views": "moco_v1", "size": 64, "ids": "0-5"}
    call("tools/look.py", data=work / "train", **look, out=sheet)
    print(f"\nkNN top-1: {trained:.1%} trained, {untrained:.1%} untrained network, {chance:.1%} chance")
    print(f"curves: {curves}   views: {sheet}   total time {time.monotonic() - begin:.0f} s")
    if trained < untrained + 0.1:
        raise UserError("the trained network is not clearly better than the untrained one: this run did not learn")


if __name__ == "__main__":
    run(main)
