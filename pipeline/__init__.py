"""From a manifest to batches of views: sample order, readers and loaders.

`as_dataset` serves training loops on torch's `DataLoader`, `adapters.ffcv_ops` those on ffcv's `Loader`.
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
