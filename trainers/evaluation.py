"""Evaluations from the command line: data and network in, numbers as a table and as `results.json` out."""

import dataclasses
import json
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

import torch
from torch import Tensor, nn

from ..shards.errors import UserError
from ..shards.files import atomic
from ..shards.manifest import Manifest
from . import checkpoint
from .data import Loading, evaluating, open_data
from .evals import knn
from .evals.features import features
from .nets import Encoder
from .ranks import group, rank
from .run import method_of


@dataclass(frozen=True, kw_only=True)
class Evaluation(Loading):
    """What to evaluate, on which data"""

    task: Annotated[Literal["knn"], "knn: weighted kNN and best-NN of --val images among --data images"] = "knn"
    checkpoint: Annotated[str, "last.pt of a run"] = ""
    data: Annotated[str, "training set whose images vote (the newest under data/shards)"] = ""
    val: Annotated[str, "validation set (the newest under data/shards)"] = ""
    size: Annotated[int, "side of the centre crop, px; 0: as trained", 0] = 0
    batch_size: Annotated[int, "global batch", 1] = 256
    k: Annotated[int, "neighbours of the weighted vote", 1] = 200
    temperature: Annotated[float, "of the weighted vote", 1e-4] = 0.07
    max_k: Annotated[int, "best-NN tries 1, 3, 5, ... up to this", 1] = 101
    untrained: Annotated[bool, "use the checkpoint's network with its initial weights: the number to beat"] = False
    device: Annotated[Literal["auto", "cuda", "cpu"], "auto: a GPU if there is one"] = "auto"


def evaluate(options: Evaluation) -> dict[str, float]:
    """Run the task; rank 0 prints a table and adds the numbers to results.json beside the checkpoint."""
    if not options.checkpoint:
        raise UserError("no network to evaluate: name one with --checkpoint runs/<run>/last.pt")
    path = Path(options.checkpoint)
    with group(options.device) as device:
        bank, queries = (open_data(d, s, options) for d, s in ((options.data, "train"), (options.val, "val")))
        for data in (bank, queries):
            data.require_labels("kNN")
        if bank.info.classes != queries.info.classes:
            raise UserError(f"{bank.root} and {queries.root} have different classes: kNN needs the same ones")
        net, size = _backbone(path, options)
        sets = [_features(net.to(device), data, options, size, device) for data in (bank, queries)]
        results = dict(_knn(*sets[0], *sets[1], options))
        if not rank():
            _report(results, path, options)
    return results


def _backbone(path: Path, options: Evaluation) -> tuple[nn.Module, int]:
    """The online network's backbone and the side of the images it is to see."""
    state = checkpoint.read(path)
    recipe = checkpoint.recipe_of(state)
    method = method_of(recipe)
    if not options.untrained:
        checkpoint.load(method, state["method"], path)
    online = method.online
    assert isinstance(online, Encoder)
    return online.backbone, options.size or recipe.size


def _features(
    net: nn.Module, data: Manifest, options: Evaluation, size: int, device: torch.device
) -> tuple[Tensor, Tensor]:
    with closing(evaluating(data, size, options.batch_size, options, device)) as loader:
        return features(net, loader)


def _knn(bank: Tensor, bank_labels: Tensor, queries: Tensor, labels: Tensor, options: Evaluation) -> Iterator[
    tuple[str, float]
]:  # fmt: skip
    four = (bank, bank_labels, queries, labels)
    yield from knn.weighted(*four, k=options.k, temperature=options.temperature)
    for space in ("original", "norm"):
        yield from knn.best_nn(*four, max_k=options.max_k, space=space)


def _report(results: dict[str, float], path: Path, options: Evaluation) -> None:
    name = f"{options.task}{' untrained' if options.untrained else ''}"
    for key, value in results.items():
        print(f"{name:>14}  {key:<24} {value:.4f}" if isinstance(value, float) else f"{name:>14}  {key:<24} {value}")
    file = path.with_name("results.json")
    everything = json.loads(file.read_text()) if file.exists() else {}
    everything[name] = {**results, "options": dataclasses.asdict(options)}
    with atomic(file, "w") as page:
        json.dump(everything, page, indent=1, default=str)
    print(f"written to {file}")
