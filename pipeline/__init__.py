"""From a manifest to batches of views: order, loaders, the executor they share.

For other people's loops: `as_dataset` for torch's DataLoader, `ffcv_ops` for ffcv's.
"""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .adapters.dataset import as_dataset

__all__ = ["as_dataset"]


def __getattr__(name: str) -> Any:
    if name == "as_dataset":  # imported when asked for, since it brings torch
        from .adapters.dataset import as_dataset

        return as_dataset
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
