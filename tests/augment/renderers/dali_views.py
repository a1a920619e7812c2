"""Views by DALI, finished by the device renderer if DALI leaves ops, and their differences to the reference."""

import functools

import numpy as np
import pytest
import simplejpeg
import torch
from PIL import Image

from viewstream.augment.draw import draw
from viewstream.augment.renderers import device, reference
from viewstream.augment.renderers.dali import Renderer, rest, split
from viewstream.augment.renderers.packing import pack
from viewstream.augment.spec import Normalize, size_of

SAMPLES = 24
NORM = Normalize()
STD = torch.tensor(NORM.std).view(3, 1, 1)
ON = [
    "cpu",
    pytest.param("gpu", marks=[pytest.mark.gpu, pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA")]),
]


@functools.cache
def renderer(views, on):
    return Renderer(views, SAMPLES, on, threads=2)


def decoded(jpegs):
    images = [Image.fromarray(simplejpeg.decode_jpeg(jpeg)) for jpeg in jpegs]
    return images, np.array([(i.height, i.width) for i in images])


def drawn(views, hw, ids):
    ids = np.asarray(ids, np.uint64)
    return [draw(view, ids, hw, seed=0, epoch=0, number=number) for number, view in enumerate(views)]


def rendered(views, jpegs, on, ids=None):
    """Finished views on the CPU, by DALI and, if it leaves ops, the device renderer."""
    hw = decoded(jpegs)[1]
    draws = drawn(views, hw, range(len(jpegs)) if ids is None else ids)
    out = []
    for view, draw_, x in zip(views, draws, renderer(views, on)(jpegs, hw, draws), strict=True):
        left, size = split(view)[1], size_of(view)
        assert x.shape == ((len(jpegs), size, size, 3) if left else (len(jpegs), 3, size, size))
        if left:
            assert x.dtype == torch.uint8
            x = device.render(left, x, torch.from_numpy(pack(rest(view, draw_), len(x))).to(x.device))
        assert x.dtype == torch.float32
        assert x.is_contiguous(memory_format=torch.channels_last)
        out.append(x.cpu())
    return out


def gaps(views, jpegs, on):
    """Absolute differences to the reference in 8-bit levels, [N, 3, S, S] per view."""
    images, hw = decoded(jpegs)
    for view, draw_, x in zip(views, drawn(views, hw, range(len(jpegs))), rendered(views, jpegs, on), strict=True):
        theirs = torch.stack([reference.render(view, image, draw_, i) for i, image in enumerate(images)])
        yield (x - theirs).abs() * STD * 255
