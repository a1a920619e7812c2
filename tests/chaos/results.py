"""What suites of faults found: one file per suite in docs/results/reliability, of which docs/reliability.md is made.

A suite is a program, `python -m tests.chaos.NAME --seed N`; one that was run whole ends with
`sys.exit(keep("NAME", command, seed, rows) > 0)`, one that was run in part with `sys.exit(show(rows) > 0)`.
"""

import dataclasses
import json
from collections.abc import Iterable
from dataclasses import dataclass

from viewstream.tools.bench.measuring.machine import ROOT, stamp

RESULTS = ROOT / "docs/results/reliability"


@dataclass(frozen=True)
class Row:
    """One kind of fault: how often it was tried, what came of it, and the test that tries it.

    `outcomes` counts each outcome by its name, `bad` those that must not be: silent damage, lost or torn results, files
    outside their folder, tracebacks, hangs. `test` is `tests/FILE.py::NAME`.
    """

    fault: str
    tries: int
    outcomes: dict[str, int]
    bad: int
    test: str


def keep(suite: str, command: str, seed: int, rows: Iterable[Row]) -> int:
    """Write docs/results/reliability/SUITE.json and the page made of it, and print the rows; returns how many outcomes
    are bad."""
    from .report import write  # which reads RESULTS

    rows, on = list(rows), stamp()
    machine = f"{on['cores']} cores of {on['cpu']}, {on['memory_gb']} GB, Python {on['python']}"
    content = {"suite": suite, "command": command, "seed": seed, "machine": machine, "commit": on["commit"]}
    content["rows"] = [dataclasses.asdict(row) for row in rows]
    RESULTS.mkdir(parents=True, exist_ok=True)
    (RESULTS / f"{suite}.json").write_text(json.dumps(content, indent=1, ensure_ascii=False) + "\n")
    write(RESULTS)
    return show(rows)


def show(rows: Iterable[Row]) -> int:
    """Print the rows as a table; returns how many outcomes are bad."""
    rows = list(rows)
    width = max((len(row.fault) for row in rows), default=0)
    for row in rows:
        found = ", ".join(f"{name} {count:,}" for name, count in row.outcomes.items())
        print(f"{row.fault:{width}}  {row.tries:>9,}  {found}{f'  BAD {row.bad:,}' if row.bad else ''}", flush=True)
    bad = sum(row.bad for row in rows)
    print(f"{sum(row.tries for row in rows):,} faults, {bad:,} bad outcomes", flush=True)
    return bad
