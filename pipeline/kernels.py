"""All numba kernels of the pipeline, by what they do. `python -m viewstream.pipeline.kernels` compiles them ahead."""

from importlib.util import resolve_name

from ..shards.kernels import ready

CROPS = {"crops": resolve_name(".cut.resize", __package__)}
RENDERING = {"rendering on the host": resolve_name("...augment.renderers.host_kernels", f"{__package__}.cut")}
SHRINKING = {"shrinking images": resolve_name("...shards.encoding.kernels", f"{__package__}.cut")}


def warm_up(*, rendering: bool) -> None:
    """Compile the kernels of a loader, or load them; `rendering`: those of the host renderer too."""
    ready(CROPS | RENDERING if rendering else CROPS)


if __name__ == "__main__":
    ready(CROPS | RENDERING | SHRINKING)
