"""The images and views of one step of a run: both follow from its configuration. --losses: the loss of each image.

python tools/replay.py runs/moco --step 1200
python tools/replay.py runs/moco --step 1200 --json
python tools/replay.py runs/moco --step 1200 --losses
"""

import json

from viewstream.shards.cli import parse, run

# isort: split
from viewstream.shards.errors import UserError, command
from viewstream.tools.replay_options import LISTED, Losses, Replay
from viewstream.tools.replayed import data_of, draw, listed, recipe_of, taken
from viewstream.tools.run_files import RunFiles, read_page, read_run


def main() -> None:
    options, losses = parse(Replay(), Losses(), description=__doc__ or "")
    if losses.losses:
        from viewstream.tools.replay_losses import show_losses
        from viewstream.trainers.launch import launch

        launch(show_losses, options, losses, ranks=losses.ranks)
    elif losses != Losses():
        raise UserError("--from-start, --ranks and --device say how losses are computed: add --losses")
    else:
        show(options)


def show(options: Replay) -> None:
    """Print the images of a step, and draw some of their views."""
    found = read_run(options.run)
    recipe, step = recipe_of(found), options.step
    data = data_of(found, options.data)
    images = taken(found, recipe, data, step)
    rows = listed(data, images)
    if options.json:
        print(json.dumps({"step": step, "epoch": images.epoch, "images": rows}, indent=1))
        return
    print(f"step {step:,} of {options.run}, epoch {images.epoch}: {len(rows):,} images of {data.root}")
    for row in rows[:LISTED]:
        print(f"{row['row']:>10}  {row['key']}")
    if len(rows) > LISTED:
        print(f"{'':>10}  and {len(rows) - LISTED:,} more: --json prints all")
    if options.images:
        out = options.out or options.run / f"step-{step}.png"
        draw(images, recipe, data, options.images, out)
        print(f"views: {out}")
    if failure := _failure(found, step):
        print(f"next: {failure}")


def _failure(found: RunFiles, step: int) -> str:
    """The command for the losses of the step that failed, if it is `step`; else empty."""
    path = found.folder / "failure.json"
    page = read_page(path) if path.exists() else {}
    if page.get("step") != step:
        return ""
    ranks = len(page.get("ids", ()))
    words = ["--losses"] + ["--from-start"] * (page.get("checkpoint") is None)
    words += ["--ranks", str(ranks)] if ranks > 1 else []
    return command("python tools/replay.py", found.folder, "--step", step, *words)


if __name__ == "__main__":
    run(main)
