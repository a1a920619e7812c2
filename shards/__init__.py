"""Bytes on disk: sources, subsets, writers and their manifest. Knows numpy and pyarrow, never torch.

For other projects: `Manifest.open(folder)` describes a built set, `open_tar`, `open_beton` and `open_folder` read it.
"""

from .errors import UserError
from .formats.read import open_beton, open_folder, open_tar
from .manifest import Manifest

__all__ = ["Manifest", "UserError", "open_beton", "open_folder", "open_tar"]
