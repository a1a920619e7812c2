"""Evaluate a checkpoint: `python trainers/evaluate.py --task knn --checkpoint runs/.../last.pt` (torchrun for more)."""

from viewstream.shards.cli import parse, run

ABOUT = """Evaluate a trained backbone.

  python trainers/evaluate.py --task knn --checkpoint runs/moco-imagenet-lt6-train/last.pt \\
      --data data/shards/imagenet-lt6-train --val data/shards/imagenet-full-val"""


def main() -> None:
    from viewstream.trainers.evaluation import Evaluation, evaluate

    (options,) = parse(Evaluation(), about=ABOUT)
    evaluate(options)


if __name__ == "__main__":
    run(main)
