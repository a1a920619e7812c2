"""Small images of a page."""

import io

import numpy as np
from PIL import Image

from .page import image, text

TILE = 112  # px


def tile(stored: bytes | np.ndarray, about: str, caption: str = "", *, mark: bool = False) -> str:
    """A stored image, a JPEG or pixels, as a small figure; `mark` frames it."""
    small = Image.fromarray(stored) if isinstance(stored, np.ndarray) else Image.open(io.BytesIO(stored))
    small = small.convert("RGB")
    small.thumbnail((2 * TILE, TILE))
    jpeg = io.BytesIO()
    small.save(jpeg, "JPEG", quality=85)
    frame, below = ' class="same"' if mark else "", f"<figcaption>{text(caption)}</figcaption>" if caption else ""
    return f"<figure{frame}>{image(jpeg.getvalue(), about, 'jpeg')}{below}</figure>"
