"""The digest that a `dataset.json` carries of itself."""

import hashlib
import json
from typing import Any

KEY, MARK = "page_digest", "sha256:"  # one flipped bit changes the name of the entry or its value, and not both


def sealed(page: dict[str, Any]) -> dict[str, Any]:
    """The page with its digest; it is in `subset`, because earlier readers refuse a key that they do not know."""
    return page | {"subset": page["subset"] | {KEY: _digest(page)}}


def opened(page: Any) -> Any:
    """The page without its digest, if it has one: other projects and earlier versions write none. ValueError if it
    differs."""
    subset = page.get("subset") if isinstance(page, dict) else None
    if not isinstance(subset, dict):
        return page
    found = [name for name, value in subset.items() if name == KEY or str(value).startswith(MARK)]
    page = page | {"subset": {name: value for name, value in subset.items() if name not in found}}
    if any(subset[name] != _digest(page) for name in found):
        raise ValueError(f"it is not as it was written; if you changed it, take {KEY} out of its subset")
    return page


def _digest(page: dict[str, Any]) -> str:
    return MARK + hashlib.sha256(json.dumps(page, sort_keys=True).encode()).hexdigest()
