"""Draws and color work for suite.py: what they cost against bare arithmetic and against other libraries."""

from collections.abc import Callable
from functools import partial
from typing import Any

import torch
from torchvision.transforms import transforms as v1

from viewstream.augment.recipes import moco_v2
from viewstream.augment.renderers import host
from viewstream.augment.spec import Normalize
from viewstream.pipeline.workers import share_of_cores
from viewstream.tools.bench import augment_cases as other
from viewstream.tools.bench.measuring.apart import Case
from viewstream.tools.bench.measuring.rounds import compared
from viewstream.tools.bench.parts.sets import Setting

DRAWN = 1024  # samples per call, as a loader draws them


def groups(setting: Setting) -> dict[str, Case]:
    """Draws of a view, and a view without its crop."""
    return {
        "draws of a MoCo v2 view": partial(draws, setting),
        "MoCo v2 view without its crop": partial(color, setting),
    }


def draws(setting: Setting, calls: int = 40) -> dict[str, Any]:
    """Drawing and packing a view, against torchvision's own draws."""
    view = moco_v2(224)[0]
    like = torch.empty(1).expand(1, 400, 400)

    def torchvision(_: int) -> int:
        for _ in range(DRAWN):
            v1.RandomResizedCrop.get_params(like, [0.2, 1.0], [3 / 4, 4 / 3])
            v1.ColorJitter.get_params([0.6, 1.4], [0.6, 1.4], [0.6, 1.4], [-0.1, 0.1])
            torch.rand(4)  # grayscale, blur, mirror, jitter or not
        return DRAWN

    todo: dict[str, Callable[[int], float]] = {
        "viewstream": _times(calls, partial(other.parameters, view, DRAWN), DRAWN),
        "torchvision, an image at a time": torchvision,
    }
    return compared(todo, setting.rounds, unit="view", peers=(list(todo)[-1],))


def color(setting: Setting, size: int = 224) -> dict[str, Any]:
    """From uint8 squares to normalized float32, with the same number of threads everywhere but in PIL's one process.

    The floor is our kernel without ops: it reads every pixel and writes it normalized.
    """
    threads, batch = share_of_cores(), 16 if setting.quick else 64
    torch.set_num_threads(threads)
    images, view = other.squares(str(setting.set().root), batch, size), moco_v2(size)[0]
    pixels, nothing = torch.from_numpy(images), torch.empty(batch, 0)
    todo: dict[str, Callable[[int], float]] = {
        "normalization alone": _times(8, lambda at: host.render((Normalize(),), pixels, nothing), batch),
        "viewstream": _times(8, _call(other.ours(pixels, view, host.render)), batch),
        "kornia container": _times(1, _call(other.kornia_container(pixels)), batch),
        "torchvision v2, an image at a time": _times(1, _call(other.torchvision_v2(pixels)), batch),
        "torchvision on PIL": _times(1, _call(other.pil(images)), batch),
    }
    with torch.inference_mode():
        return compared(
            todo,
            setting.rounds,
            unit="image",
            floor="normalization alone",
            peers=list(todo)[2:],
            threads=threads,
            images=setting.source,
        )


def _call(case: Callable[[], Any]) -> Callable[[int], Any]:
    return lambda at: case()


def _times(calls: int, call: Callable[[int], Any], units: int) -> Callable[[int], float]:
    """A case of `calls` calls in a round, each for `units` units."""

    def case(number: int) -> float:
        for at in range(calls):
            call(number * calls + at)
        return calls * units

    return case
