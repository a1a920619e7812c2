"""Changing the dataset.json of a set, as its author could."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from viewstream.shards.seals import opened, sealed


def change_page(root: Path, change: Callable[[dict[str, Any]], Any]) -> None:
    """Call `change` with the content of a set's dataset.json, and write that again with its digest."""
    file = root / "dataset.json"
    page = opened(json.loads(file.read_text()))
    change(page)
    file.write_text(json.dumps(sealed(page) if isinstance(page.get("subset"), dict) else page))
