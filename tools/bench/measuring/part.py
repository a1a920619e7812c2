"""The cases of a part of a long measurement, each in a process of its own, whose figures are kept at once."""

import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from viewstream.shards.files import atomic
from viewstream.tools.bench.measuring.apart import Case, apart

Figures = dict[str, Any]


def run_part(
    todo: dict[str, Case],
    path: Path,
    minutes: float,
    current: Callable[[Figures], bool] = lambda figures: True,
    text: Callable[[Figures], str] = str,
) -> bool:
    """Run the cases that `path` has no `current` figures of; whether all of them have some now. `text` is printed."""
    results: dict[str, Figures] = json.loads(path.read_text()) if path.exists() else {}
    end = time.monotonic() + 60 * minutes
    for name, case in todo.items():
        if "error" not in (kept := results.get(name, {"error": ""})) and current(kept):
            continue
        if (left := end - time.monotonic()) < 20:
            print(f"{path.stem}: the time is over before {name}; run the part again for what is missing", flush=True)
            return False
        begin = time.monotonic()
        results[name] = apart(case, left)
        print(f"{path.stem}: {name}: {text(results[name])} ({time.monotonic() - begin:.0f} s)", flush=True)
        with atomic(path, "w") as file:
            json.dump(results, file, indent=1)
    return not any("error" in results[name] for name in todo)
