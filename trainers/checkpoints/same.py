"""Whether a checkpoint is of the run that resumes it: on the same images, begun with the same weights."""

import logging
from collections.abc import Callable
from pathlib import Path
from typing import Any

from ...shards.errors import UserError
from ..ranks import rank

LOG = logging.getLogger(__name__)

Facts = dict[str, Any]


def require_same_recipe(path: Path, was: Facts, now: Facts, objection: Callable[[Any], str]) -> None:
    """UserError if the recipe of checkpoint `path` differs from that of the run `now`.

    Other epochs are allowed, with a note, unless `objection(epochs of the checkpoint)` gives a reason against them."""
    off = {k: v for k, v in now.items() if k not in was and not v}  # of a later version than the checkpoint
    was = was | off
    changed = [f"{k} {was.get(k)!r} -> {v!r}" for k, v in now.items() if k != "epochs" and was.get(k) != v]
    if changed:
        raise UserError(
            f"{path} was trained with another recipe ({'; '.join(changed)}): "
            f"repeat its options, or start again with another --out"
        )
    before, after = was.get("epochs"), now.get("epochs")
    if before == after:
        return
    if reason := objection(before):
        raise UserError(
            f"{path} was trained with another recipe (epochs {before} -> {after}), and {reason}: repeat --epochs "
            f"{before}, or start again with another --out"
        )
    note(f"epochs {before} -> {after}: the steps already taken are the same, the end of the run is another")


def require_same_set(path: Path, name: str, was: Facts | None, now: Facts) -> None:
    """UserError if the set `name`, `data` or `val`, differs from that of the checkpoint `path`.

    An earlier version recorded less (`was` without an identity, or None): what there is is compared, with a note. An
    empty description is of a run that used no such set.
    """
    if was == {} or not now:
        return
    was = was or {}
    if "identity" in was and was["identity"] == now["identity"]:  # whatever the set is called now
        return
    if "identity" not in was:
        note(f"{path} is of an earlier version: of its --{name} {', '.join(was) or 'nothing'} can be compared")
        now = {k: now[k] for k in was}
    changed = [f"{k} {was.get(k)!r} -> {v!r}" for k, v in now.items() if was.get(k) != v and k != "identity"]
    if not changed and was.get("identity") != now.get("identity"):
        changed = [
            "other pixels, labels, order or class names under the same names; of files without a build: other times"
        ]
    if changed:
        raise UserError(
            f"{path} was trained with another {name} ({'; '.join(changed)}): "
            f"name its --{name}, or start again with another --out"
        )


def require_same_start(path: Path, was: Facts | None, now: Facts) -> None:
    """UserError if the run of checkpoint `path` began with other weights than those that are named now, by content.

    A run that names none goes on with those of the checkpoint. Earlier versions recorded nothing (None): a note.
    """
    if was is None:
        if now:
            note(f"{path} is of an earlier version: what it began with cannot be compared")
        return
    changed = [f"{k} {str(was.get(k))[:12]} -> {str(v)[:12]}" for k, v in now.items() if was.get(k) != v]
    if changed:
        raise UserError(
            f"{path} is of a run that began with other weights ({'; '.join(changed)}): "
            f"give another --out, remove {path.parent}, or name the checkpoint and the network that it began with"
        )


def note_longer_epochs(path: Path, saved: Facts, recipe: Facts) -> None:
    """Note that the epochs of a supervised checkpoint of an earlier version lacked the last images of the set."""
    if "per_epoch" not in saved and recipe.get("method") == "supervised":
        note(
            f"{path} is of an earlier version, whose epochs left out the images after the last whole batch: if there "
            f"are such images, its {saved['step']} steps are fewer epochs now"
        )


def note_other_decoder(path: Path, was: str | None, now: str) -> None:
    """Note that the steps of checkpoint `path` saw the pixels of another decoder, `--decode`. Earlier versions (None)
    did not record it; they had no planes."""
    if was != now and (was or now == "planes"):
        note(
            f"{path} was trained with --decode {was or 'cpu or gpu'}, now {now}: same ids and draws, but from here on "
            "pixels differ by rounding and at the edges of colors"
        )


def note(text: str) -> None:
    """Print a note, on rank 0."""
    if not rank():
        LOG.info(f"note: {text}")
