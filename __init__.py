"""viewstream: sharded images in, a stream of augmented views out, lean self-supervised trainers on top."""

import logging

logging.getLogger(__name__).addHandler(logging.NullHandler())  # messages are shown by those who set up logging


def __getattr__(name: str) -> str:
    if name == "__version__":
        from importlib.metadata import version

        return version("viewstream")
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
