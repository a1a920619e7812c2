"""All numba kernels of the pipeline, by what they do. `python -m viewstream.pipeline.kernels` compiles them ahead."""

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
    ready(ORDER | CROPS | (PLANES if planes else {}) | (RENDERING if rendering else {}))


if __name__ == "__main__":
    ready(ORDER | CROPS | PLANES | RENDERING | SHRINKING)
