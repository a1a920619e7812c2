"""What DALI's decoder should know of a set before it sees an image."""

import numpy as np

from ...shards.manifest import Manifest

MOST = 0.999  # of the images have buffers of their size from the start
LOOKED_AT = 1 << 18  # images at most, evenly spread, so that a set of any size costs the same
INT32 = 2**31 - 1  # the largest argument


def hints(manifest: Manifest, hw_decoder_load: float = 0.0) -> dict[str, float]:
    """Arguments of DALI's decoder: bytes for nvJPEG's buffers, so that next to no image makes one grow.

    One buffer per thread on the device and two on the host, each for three full planes of two-byte coefficients in
    blocks of at most 16 px, on the host for the JPEG as well; large enough for all but one image in a thousand, since
    a single one of 60 megapixels would make every buffer 360 MB. The JPEG engine gets memory for a whole batch of such
    images, if it has a share (`hw_decoder_load`). `bytes_per_sample_hint` has no use here: DALI's executor takes each
    batch from a pool whatever it is.
    """

    def nearly_all(values: np.ndarray) -> int:
        return int(np.quantile(values, MOST, method="lower"))

    some = slice(None, None, -(-len(manifest) // LOOKED_AT))
    hw = manifest.hw[some].astype(np.int64)
    planes = 3 * 2 * 16 * 16 * nearly_all((-(-hw // 16)).prod(axis=1))
    sizes = {"device_memory_padding": planes, "host_memory_padding": planes + nearly_all(manifest.bytes[some])}
    if hw_decoder_load:
        height, width = hw.T
        sizes |= {"preallocate_height_hint": nearly_all(height), "preallocate_width_hint": nearly_all(width)}
    return {"hw_decoder_load": hw_decoder_load, **{name: min(size, INT32) for name, size in sizes.items()}}
