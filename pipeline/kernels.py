"""All numba kernels of the pipeline, by what they do. `python -m viewstream.pipeline.kernels` compiles them ahead."""

import functools
import logging
import os
from importlib.util import resolve_name

from ..shards.kernels import ready

LOG = logging.getLogger(__name__)

ORDER = {"the order of samples": resolve_name(".plan.kernel", __package__)}
MANY = 8  # cores of a process, from which on one call per image costs more than the call
READS = {
    "reading": resolve_name(".reading", __package__),
    "decoding": resolve_name(".turbojpeg", __package__),
}
CROPS = {"crops": resolve_name(".cut.resize", __package__)}
PLANES = {"crops of planes": resolve_name(".cut.planes", __package__)}
RENDERING = {"rendering on the host": resolve_name("...augment.renderers.host_kernels", f"{__package__}.cut")}
SHRINKING = {
    "shrinking rows": resolve_name("...shards.encoding.dots", f"{__package__}.cut"),
    "shrinking images": resolve_name("...shards.encoding.kernels", f"{__package__}.cut"),
}


def warm_up(*, rendering: bool, planes: bool = False) -> None:
    """Compile the kernels of a loader, or load them; `rendering`: those of the host renderer too, `planes`: those of
    --decode planes."""
    _note_slower_path(planes)
    ready(ORDER | READS | CROPS | (PLANES if planes else {}) | (RENDERING if rendering else {}))


@functools.cache
def _note_slower_path(planes: bool) -> None:
    """Print on rank 0, once, that this CPU picks pixels one by one, or that many threads decode one by one."""
    from .cut.vectors import cpu_has_picks
    from .turbojpeg import has_turbojpeg
    from .workers import share_of_cores

    first = os.environ.get("RANK", "0") == "0"
    if first and share_of_cores() >= MANY and not has_turbojpeg():
        LOG.warning(
            "note: no libturbojpeg makes the pixels of simplejpeg here, so each image is decoded by a call of its own, "
            "and many threads wait for the interpreter; apt-get install libturbojpeg0 or pip install "
            "'viewstream[planes]' brings it"
        )
    if first and not cpu_has_picks():
        more = ", and --decode planes takes longer than --decode cpu" * planes
        LOG.warning(f"note: this CPU has no AVX-512: crops take the slower path, which makes the same pixels{more}")


if __name__ == "__main__":
    ready(ORDER | READS | CROPS | PLANES | RENDERING | SHRINKING)
