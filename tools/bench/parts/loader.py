"""Loaders for suite.py: the host's work per sample, against decoding alone and against other loaders."""

from functools import partial
from typing import Any

from viewstream.augment.recipes import views_of
from viewstream.augment.spec import RandomResizedCrop, Views
from viewstream.pipeline.workers import share_of_cores
from viewstream.tools.bench.loaders.cases import FLOOR, cases
from viewstream.tools.bench.loaders.job import Job
from viewstream.tools.bench.measuring.apart import Case
from viewstream.tools.bench.measuring.rounds import compared
from viewstream.tools.bench.parts.sets import Setting
from viewstream.tools.bench.peers.table import PEERS, STOCK, peers_of

TWO, EIGHT = "two views of 224 px", "two views of 224 px and six of 96 px"
BY_HAND = tuple(name for name in PEERS if name not in STOCK)


def groups(setting: Setting) -> dict[str, Case]:
    """What is measured, by name."""
    if setting.quick:
        return {TWO: partial(crops, setting, "moco_v2", ("simplejpeg + v2 antialias",))}
    return {
        TWO: partial(crops, setting, "moco_v2", tuple(PEERS)),
        EIGHT: partial(crops, setting, "swav", BY_HAND),
        "whole MoCo v2 views of 32 px": partial(whole, setting),
    }


def crops(setting: Setting, recipe: str, peers: tuple[str, ...], size: int = 224) -> dict[str, Any]:
    """Crops and flips of a recipe, through every loader and some peers."""
    views = views_of(recipe, size)
    job = _job(setting, views)
    others, left_out = peers_of(job, peers)
    loader = "webdataset,ffcv,folder" if setting.quick else "all"
    todo = cases(job, views, loader, {}) | others
    return compared(
        todo,
        setting.rounds,
        unit="image",
        floor=FLOOR,
        peers=tuple(others),
        antialiased=[name for name in others if PEERS[name].antialiased],
        stock=[name for name in others if name in STOCK],
        left_out=left_out,
        threads=job.threads,
        images=setting.source,
    )


def whole(setting: Setting, size: int = 32) -> dict[str, Any]:
    """Whole views, color work included, of files and of a small set in memory."""
    views = views_of("moco_v2", size)
    job = _job(setting, views, rendered=True)
    todo = {name: case for name, case in cases(job, views, "ffcv,memory", {}).items() if "only" not in name}
    return compared(todo, setting.rounds, unit="image", floor="ffcv", threads=job.threads, images=setting.source)


def _job(setting: Setting, views: Views, rendered: bool = False) -> Job:
    """Rounds of whole epochs, so that no loader reads ahead for a round to come."""
    boxes = [view[0] for view in views if isinstance(view[0], RandomResizedCrop)]
    data = setting.set(32, copies=16) if rendered else setting.set()
    return Job(data, boxes, 64, len(data) // 64, share_of_cores(), rendered)
