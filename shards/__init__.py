"""Bytes on disk: sources, subsets, writers and their manifest. Imports numpy and pyarrow, never torch.

For other projects: `Manifest.open(folder)` describes a built set; `open_tar`, `open_beton` and `open_folder` read it.
`in_memory` describes images that you read yourself.
"""

from .errors import UserError
from .formats.read import open_beton, open_folder, open_tar
from .manifest import Manifest
from .memory import in_memory

__all__ = ["Manifest", "UserError", "in_memory", "open_beton", "open_folder", "open_tar"]
