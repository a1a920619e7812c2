"""From a manifest to batches of views: order, readers, loaders.

Orders use numpy alone; every other name imports torch when it is first used.
"""

from typing import TYPE_CHECKING

from ..shards.faces import hand_on
from ..shards.formats.reader import SampleReader
from .plan.order import Order, Plan, permutation
from .plan.orders import Balanced, WindowShuffle, shuffle_quality
from .plan.step import Epoch, Step, listed

if TYPE_CHECKING:
    from .adapters.dataset import as_dataset
    from .batch import Batch, Loader
    from .choose import open_loader, open_reader, open_set
    from .dali.loader import DaliLoader
    from .loader import ViewLoader
    from .memory.loader import MemoryLoader
    from .options import LoaderOptions
    from .readers.stage import Stage
    from .static.read import StaticSet

__all__ = [
    "Balanced",
    "Batch",
    "DaliLoader",
    "Epoch",
    "Loader",
    "LoaderOptions",
    "MemoryLoader",
    "Order",
    "Plan",
    "SampleReader",
    "Stage",
    "StaticSet",
    "Step",
    "ViewLoader",
    "WindowShuffle",
    "as_dataset",
    "listed",
    "open_loader",
    "open_reader",
    "open_set",
    "permutation",
    "shuffle_quality",
]
__getattr__ = hand_on(
    __name__,
    {
        "Batch": ".batch",
        "DaliLoader": ".dali.loader",
        "Loader": ".batch",
        "LoaderOptions": ".options",
        "MemoryLoader": ".memory.loader",
        "Stage": ".readers.stage",
        "StaticSet": ".static.read",
        "ViewLoader": ".loader",
        "as_dataset": ".adapters.dataset",
        "open_loader": ".choose",
        "open_reader": ".choose",
        "open_set": ".choose",
    },
)
