"""Every measurement that needs no GPU, in parts: `make bench`, or `make bench PART=loader`.

    build    storing images, and static sets, against `cp`, bare codecs and the writers of other projects
    cluster  builds on Ray, against the local engine
    draw     draws and color work, against bare arithmetic, torchvision, kornia and PIL
    loader   every loader, against decoding alone, stock loaders and the quickest that one can write by hand
    threads  many threads that sleep instead of decoding and cropping: what the interpreter costs them
    step     training steps on the CPU, alone and end to end, against plain torch
    start    programs from their start to their end
    scale    orders and manifests of up to 10^8 rows
    flat     speed and memory over a run 10 times as long and a set 10 times as large
    stage    staging a set, against `cp`, a sync and `sha256sum`, and reading it then
    costs    what each stage costs on one thread, for tools/plan.py
    check    the ratios that `make bench-check` compares with, measured as it does

Cases of a group alternate (A B C A B C ...); ratios are taken within a round, and their medians and quartiles are
shown. Ratios are comparable across days, absolute numbers are not. Each group runs in a process of its own; its figures
go into docs/results/cpu/<part>.json at once, and a part that runs again on the same machine and code measures what is
missing. Tables, charts and the README's section are written from these files (--write measures nothing).
"""

import dataclasses
import json
import tempfile
import time
from dataclasses import dataclass
from functools import partial
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal, get_args

from viewstream.shards.cli import parse, run

# isort: split
from viewstream.shards.errors import UserError, needs
from viewstream.shards.files import make_folder
from viewstream.tools.bench.figures.check import compare
from viewstream.tools.bench.figures.pages import write_pages
from viewstream.tools.bench.measuring.apart import Case
from viewstream.tools.bench.measuring.machine import ROOT, busy_seconds, code, stamp
from viewstream.tools.bench.measuring.part import run_part
from viewstream.tools.bench.measuring.rounds import processor_seconds

if TYPE_CHECKING:
    from viewstream.tools.bench.parts.sets import Setting

Part = Literal[
    "all",
    "build",
    "cluster",
    "draw",
    "loader",
    "threads",
    "step",
    "start",
    "scale",
    "flat",
    "stage",
    "costs",
    "check",
]
PARTS = get_args(Part)[1:-1]  # modules of parts/
RESULTS = ROOT / "docs/results/cpu"


@dataclass(frozen=True)
class Suite:
    """What to measure"""

    part: Annotated[Part, "part to run"] = "all"
    images: Annotated[Path | None, "folder of photographs, searched to any depth (generated images)"] = None
    quick: Annotated[bool, "few rounds of few cases, to see that all runs"] = False
    check: Annotated[bool, "measure part `check` and compare it with the saved one; write nothing"] = False
    write: Annotated[bool, "measure nothing, write tables, charts and README from the saved figures"] = False
    minutes: Annotated[float, "time for a part; what is left then waits for the next run", 0.1] = 15.0
    work: Annotated[Path, "folder for images and sets"] = Path("data/bench")
    out: Annotated[Path, "folder for figures"] = RESULTS


def cases(part: str, setting: "Setting") -> dict[str, Case]:
    """The groups of a part by name, each with what it depends on beside its figures."""
    if part == "check":
        quick = dataclasses.replace(setting, images=None, quick=True)
        found = {name: case for each in ("loader", "draw", "step") for name, case in groups(each, quick).items()}
    else:
        found = groups(part, setting)
    return {name: partial(stamped, case) for name, case in found.items()}


def groups(part: str, setting: "Setting") -> dict[str, Case]:
    """The groups of a part, whose packages are imported now."""
    return import_module(f"viewstream.tools.bench.parts.{part}").groups(setting)


def stamped(case: Case) -> dict[str, Any]:
    """The figures of a group and, as `on`, the machine, the code, and the share of its cores that others took."""
    on, start, busy, ours = stamp(), time.perf_counter(), busy_seconds(), processor_seconds()
    figures = case()
    took = time.perf_counter() - start
    others = busy_seconds() - busy - (processor_seconds() - ours)
    return figures | {"on": on | {"seconds": round(took, 1), "others": round(max(0.0, others / took / on["cores"]), 3)}}


def line(figures: dict[str, Any]) -> str:
    """A group in a word: its error, or how long it took."""
    return figures.get("error", "") or f"measured, other programs took {figures['on']['others']:.0%} of the cores"


def measure(options: Suite, part: str, out: Path) -> bool:
    """Measure the groups of a part that `out` has no figures of by this machine and code; whether all have some."""
    from viewstream.tools.bench.parts.sets import Setting

    setting = Setting(options.work.resolve(), options.images and options.images.resolve(), options.quick)
    here = stamp()["cpu"], code()

    def current(figures: dict[str, Any]) -> bool:
        source = figures.get("images", setting.source)
        return (figures["on"]["cpu"], figures["on"]["code"]) == here and source in (setting.source, "")

    return run_part(cases(part, setting), out / f"{part}.json", options.minutes, current, line)


def check(options: Suite) -> None:
    """Measure part `check` and compare it with the saved one; UserError if a ratio has fallen."""
    saved = options.out / "check.json"
    if not saved.exists():
        raise UserError(f"{saved} is missing: `make bench PART=check` writes it")
    with tempfile.TemporaryDirectory() as folder:
        if not measure(options, "check", Path(folder)):
            raise UserError("groups have failed: their errors are printed above")
        fresh = json.loads((Path(folder) / "check.json").read_text())
    rows = compare(json.loads(saved.read_text()), fresh)
    print("\n".join(map(str, rows)))
    if down := sum(row.fallen for row in rows):
        print(f"{down} of {len(rows)} ratios are more than a quarter lower than the saved ones")
        raise SystemExit(1)


def main() -> None:
    (options,) = parse(Suite(), description=__doc__ or "")
    needs("matplotlib")
    if options.check:
        return check(options)
    out = options.work / "quick" if options.quick and options.out == RESULTS else options.out
    make_folder(out)
    todo = [] if options.write else [*PARTS, "check"] if options.part == "all" else [options.part]
    results = [measure(options, part, out) for part in todo]
    write_pages(out, ROOT if out == RESULTS else None)
    if not all(results):
        raise UserError(f"groups have failed or are missing: run the part again, or read {out}/*.json")


if __name__ == "__main__":
    run(main)
