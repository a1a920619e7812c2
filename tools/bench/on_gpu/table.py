"""The figures of gpu.py as tables in Markdown."""

import json
from pathlib import Path
from typing import Any

PLAIN = ", fp32 eager"  # ends the name of the case that a case of part `train` is compared with


def table(folder: Path) -> str:
    """One table for each part that `folder` has figures of, and a list of the cases that failed."""
    text = [f"# {folder.name}", "Written by `make gpu`; the JSON files beside it hold all figures."]
    for part, row in (("parity", _parity), ("sync", _sync), ("train", _train), ("bench", _bench)):
        path = folder / f"{part}.json"
        results: dict[str, Any] = json.loads(path.read_text()) if path.exists() else {}
        sound = {name: result for name, result in results.items() if "error" not in result}
        for name, result in sound.items():
            if "reached" in result and (compared := sound.get(name + PLAIN)):
                result["over_plain"] = compared["seconds"] / result["seconds"]["resident"]
        if rows := [cells for name, result in sound.items() if (cells := row(name, result))]:
            text += [f"## {part}", "\n".join([_line(row("", {})), _line(["---"] * len(rows[0])), *map(_line, rows)])]
        failed = [f"* {name}: {result['error']}" for name, result in results.items() if "error" in result]
        text += ["Failed:", "\n".join(failed)] if failed else []
    return "\n\n".join(text) + "\n"


def _line(cells: list[str]) -> str:
    return "| " + " | ".join(cells) + " |"


def _parity(name: str, result: dict[str, Any]) -> list[str]:
    if not name:
        return ["difference from the views of the CPU, levels of 8 bits", "mean", "p99", "max"]
    return [name, *(str(result.get(key, "")) for key in ("mean", "p99", "max"))] if "mean" in result else []


def _sync(name: str, result: dict[str, Any]) -> list[str]:
    return [name, str(result["checked"])] if name else ["method", "steps without waiting for the GPU"]


def _train(name: str, result: dict[str, Any]) -> list[str]:
    if name.endswith(PLAIN):
        return []
    if not name:
        head = ["method, network", "img/s on a resident batch", "with the loader", "of the ceiling", "waiting"]
        return [*head, "over fp32 eager NCHW", "peak GB"]
    rates = [f"{result['batch'] / result['seconds'][key]:.0f}" for key in ("resident", "loader")]
    over = f"{result['over_plain']:.2f}" if "over_plain" in result else ""
    shares = [f"{result['reached']:.3f}", f"{result['lost']['waiting']:.1%}", over]
    return [name, *rates, *shares, f"{result['peak_gb']:.1f}"]


def _bench(name: str, result: dict[str, Any]) -> list[str]:
    if not name:
        return ["loader, two MoCo v2 views on the GPU", "samples per second", "threads"]
    rate = result.get("samples_per_second")
    return [name, f"{rate:.0f}", str(result.get("threads", ""))] if isinstance(rate, float) else []
