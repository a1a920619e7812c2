"""Evaluate a checkpoint: `python trainers/evaluate.py --task knn --checkpoint FILE`, with --ranks N on several GPUs."""

import json
from dataclasses import dataclass
from typing import Annotated

from viewstream.shards.cli import parse, peek, run
from viewstream.shards.messages import aside
from viewstream.shards.redaction import redacted
from viewstream.trainers.launch import launch
from viewstream.trainers.tasks.options import Evaluation, options_of

ABOUT = """Evaluate a trained backbone. The options depend on the task.

  python trainers/evaluate.py --task knn --checkpoint runs/moco-imagenet-lt6-train/last.pt \\
      --data data/shards/imagenet-lt6-train --val data/shards/imagenet-full-val
  python trainers/evaluate.py --task linear --protocol sts_linear_byol --checkpoint runs/sts/last.pt"""


@dataclass(frozen=True)
class EvalTarget:
    """What to measure"""

    task: Annotated[
        str, "knn, linear, transfer, shots, logreg, rankme, instdisc, stats or tsne; --help shows the task's options"
    ] = "knn"
    ranks: Annotated[int, "processes on this machine, one per GPU (1 also under torchrun)", 1] = 1
    json: Annotated[bool, "print the new entry of results.json as JSON, all else on standard error"] = False


def measure(options: Evaluation, as_json: bool) -> None:
    """What each rank does. Torch is imported here: the options and the process that starts the ranks need none."""
    from viewstream.trainers.tasks.run import evaluated

    if not as_json:
        evaluated(options)
        return
    with aside():
        _, entry = evaluated(options)
    if entry:  # of the first rank
        print(redacted(json.dumps(entry, indent=1, default=str)))


def main() -> None:
    target = peek(EvalTarget())
    target, options = parse(target, options_of(target.task), description=ABOUT, of=f"of --task {target.task}")
    launch(measure, options, target.json, ranks=target.ranks)


if __name__ == "__main__":
    run(main)
