"""The folder door: a JPEG file a sample, of a set built with `--format folder`. The plain reference."""

from ..shards.read import open_folder as open_door

__all__ = ["open_door"]
