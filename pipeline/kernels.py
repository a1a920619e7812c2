"""All numba kernels of the pipeline, by what they do. `python -m viewstream.pipeline.kernels` compiles them ahead."""

import functools
import os
import sys
from importlib.util import resolve_name

from ..shards.kernels import ready

ORDER = {"the order of samples": resolve_name(".plan.kernel", __package__)}
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
    ready(ORDER | CROPS | (PLANES if planes else {}) | (RENDERING if rendering else {}))


@functools.cache
def _note_slower_path(planes: bool) -> None:
    """Print on rank 0, once, that this CPU picks pixels one by one."""
    from .cut.vectors import cpu_has_picks

    if not cpu_has_picks() and os.environ.get("RANK", "0") == "0":
        more = ", and --decode planes takes longer than --decode cpu" * planes
        print(
            f"note: this CPU has no AVX-512: crops take the slower path, which makes the same pixels{more}",
            file=sys.stderr,
        )


if __name__ == "__main__":
    ready(ORDER | CROPS | PLANES | RENDERING | SHRINKING)
