"""The renderers that parity.py compares: each crops images, then renders the ops of a view, from the same draws."""

from collections.abc import Callable

import numpy as np
import simplejpeg
import torch
from torch import Tensor

from viewstream.augment.crops import crop_params, on_device, rest
from viewstream.augment.draw import Draws
from viewstream.augment.renderers import dali, dali_graph, dali_inputs, device, host, kornia, packing, resample
from viewstream.augment.spec import View, size_of
from viewstream.pipeline.cut.planes import can_crop, crop_of_planes
from viewstream.pipeline.cut.resize import resized_crop
from viewstream.pipeline.decoding import decode_all
from viewstream.pipeline.turbojpeg import PLANES, needs_turbojpeg, room
from viewstream.shards.errors import installed, needs

QUALITY = 90  # of JPEGs, as built sets have it
Images = list[np.ndarray]  # [H, W, 3] uint8 each
# Row i of the draws belongs to image i -> [N, 3, S, S] float32, normalized
Renderer = Callable[[View, Images, Draws], Tensor]


def renderers(with_dali: bool) -> dict[str, Renderer]:
    """All renderers by their headings in the tables; DALI only if it is installed. A new renderer is added here."""
    found: dict[str, Renderer] = {
        "Host kernel, device renderer": host_crop,
        "Host kernel, host renderer": host_crop_and_render,
        "Device crop, device renderer": device_crop,
        "Host kernel, kornia renderer": host_crop_and_kornia,
    }
    if with_dali and installed("nvidia.dali"):
        found["DALI (CPU), then the device renderer"] = dali_crop
    return found


def host_crop(view: View, images: Images, draws: Draws) -> Tensor:
    """The numba kernel crops, the device renderer renders."""
    return _render(device.render, view, _host_crop(view, images, draws), draws)


def host_crop_and_render(view: View, images: Images, draws: Draws) -> Tensor:
    """The numba kernels crop and render."""
    return _render(host.render, view, _host_crop(view, images, draws), draws)


def host_crop_and_kornia(view: View, images: Images, draws: Draws) -> Tensor:
    """The numba kernel crops, kornia's augmentations render."""
    return _render(kornia.render, view, _host_crop(view, images, draws), draws)


def device_crop(view: View, images: Images, draws: Draws) -> Tensor:
    """Matrix products crop, the device renderer renders."""
    boxes = torch.from_numpy(crop_params(view, draws, sides(images)))
    pixels = resample.resized_crop(torch.from_numpy(resample.canvas(images)), boxes, size_of(view))
    return _render(device.render, view, pixels, draws)


def dali_crop(view: View, images: Images, draws: Draws) -> Tensor:
    """DALI crops and renders the ops that it has as PIL has them, the device renderer the others.

    DALI reads PPM files, so that no decoder adds to the gap; `dali.Renderer` accepts JPEGs only.
    """
    nvidia, n = needs("nvidia.dali"), len(images)
    files = [b"P6 %d %d 255\n" % image.shape[1::-1] + image.tobytes() for image in images]
    pipe = nvidia.Pipeline(n, 1, None, prefetch_queue_depth=1)
    with pipe:
        pipe.set_outputs(*dali_graph.graph(nvidia, (view,), "cpu", {}))
    pipe.build()
    for name, data in dali_inputs.feeds((view,), files, sides(images), [draws]).items():
        pipe.feed_input(name, data)
    (output,) = pipe.run()
    pixels, left = torch.from_numpy(output.as_array()), dali.split(view)[1]  # as_array copies
    if not left:  # finished and normalized
        return pixels.permute(0, 3, 1, 2)
    return device.render(left, pixels, torch.from_numpy(packing.pack(dali.rest(view, draws), n)))


class PlanesCrop:
    """Images as JPEGs with halved colors `shown` them, whose planes the numba kernel crops (`--decode planes`); the
    device renderer renders. UserError without libturbojpeg."""

    def __init__(self, images: Images):
        needs_turbojpeg()
        jpegs = [simplejpeg.encode_jpeg(image, QUALITY, "RGB", "420") for image in images]
        self.shown = [simplejpeg.decode_jpeg(jpeg) for jpeg in jpegs]
        self._jpeg_of = {id(image): jpeg for image, jpeg in zip(self.shown, jpegs, strict=True)}

    def __call__(self, view: View, images: Images, draws: Draws) -> Tensor:
        boxes, size = crop_params(view, draws, sides(images)), size_of(view)
        pixels = _host_crop(view, images, draws).numpy()  # stays where planes cannot be cropped
        for image, box, planar, out in zip(images, boxes, can_crop(boxes[:, None]), pixels, strict=True):
            height, width = np.array([image.shape[:2]], np.int32).T
            planes, jpeg = np.empty(room(height, width), np.uint8), self._jpeg_of[id(image)]
            kinds = decode_all([jpeg], height, width, np.array([planar]), np.zeros(1, np.int64), planes)
            if kinds[0] == PLANES:
                crop_of_planes(planes, image.shape[0], image.shape[1], box, size, out.reshape(-1))
        return _render(device.render, view, torch.from_numpy(pixels), draws)


def sides(images: Images) -> np.ndarray:
    """[N, 2] heights and widths, px."""
    return np.array([image.shape[:2] for image in images])


def _host_crop(view: View, images: Images, draws: Draws) -> Tensor:
    """[N, S, S, 3] uint8 by the numba kernel."""
    size = size_of(view)
    pixels = np.empty((len(images), size, size, 3), np.uint8)
    for image, box, out in zip(images, crop_params(view, draws, sides(images)), pixels, strict=True):
        resized_crop(image.reshape(-1), image.shape[1], box, size, out.reshape(-1))
    return torch.from_numpy(pixels)


def _render(render: Callable[..., Tensor], view: View, pixels: Tensor, draws: Draws) -> Tensor:
    """The ops of a view after its crop."""
    return render(on_device(view), pixels, torch.from_numpy(packing.pack(rest(view, draws), len(pixels))))
