"""The options of `replay.py`."""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

from viewstream.shards.cli import Positional

LISTED = 20  # images that are printed


@dataclass(frozen=True)
class Replay:
    """Which step"""

    run: Annotated[Path, "folder of a run", Positional] = Path()
    step: Annotated[int, "optimizer step, from 1, as in log.jsonl", 1] = 1
    data: Annotated[str, "where the training set lies now (as in the configuration)"] = ""
    images: Annotated[int, "images whose views are drawn; 0: none", 0] = 8
    out: Annotated[Path | None, "PNG of the views (RUN/step-N.png; with --losses none)"] = None
    json: Annotated[bool, "print all images of the step as JSON, draw nothing"] = False


@dataclass(frozen=True)
class Losses:
    """Losses of its images"""

    losses: Annotated[bool, "take the steps since the last checkpoint again; images of highest loss come first"] = False
    from_start: Annotated[bool, "take all steps again, in a run that keeps no checkpoint from before"] = False
    ranks: Annotated[int, "processes; losses are the very same with as many as the run had", 1] = 1
    device: Annotated[Literal["same", "cuda", "cpu"], "same: as in the configuration"] = "same"
