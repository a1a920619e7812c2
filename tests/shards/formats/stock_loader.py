"""Reads a .beton with ffcv's own Loader and writes centers of 48 px and labels to an .npz. FILE os|process OUT

It runs as a process of its own, because ffcv changes a numba type (byte arrays become read-only) for the whole process.
"""

import sys

import numpy as np
from ffcv.fields.decoders import CenterCropRGBImageDecoder, IntDecoder
from ffcv.loader import Loader, OrderOption

loader = Loader(
    sys.argv[1],
    batch_size=16,
    num_workers=1,
    order=OrderOption.SEQUENTIAL,
    os_cache=sys.argv[2] == "os",
    drop_last=False,
    pipelines={"image": [CenterCropRGBImageDecoder((48, 48), 1.0)], "label": [IntDecoder()]},
)
images, labels = zip(*((image.copy(), label.copy()) for image, label in loader), strict=True)
np.savez(sys.argv[3], images=np.concatenate(images), labels=np.concatenate(labels)[:, 0])
