"""Where the numbers of an experiment come from: commands, machine, versions, commits."""

from collections.abc import Collection, Mapping, Sequence
from typing import Any


def markdown(head: list[str], rows: list[list[str]]) -> str:
    """Rows as a table."""
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def runs(pieces: Mapping[str, Any], groups: Mapping[str, Sequence[Mapping[str, Any]]]) -> str:
    """The command of each group's training and of each measure, of the first seed; then what all of them ran on."""
    calls: dict[str, str] = {}
    for group, pages in groups.items():
        commands, measures = pages[0]["commands"], pages[0]["measures"]
        for name, call in commands.items():
            what = name if "training" in commands else f"`{group}`, {name}"
            if name.rpartition("-")[0] not in measures:  # one of the rates that were tried
                calls.setdefault(f"`{group}`" if name == "training" else what, call)
    table = markdown(["", "command"], [[name, f"`{call}`"] for name, call in calls.items()])
    return f"{table}\n\n{ran(pieces.values())}"


def ran(pages: Collection[Mapping[str, Any]]) -> str:
    """Machines, versions, commits and minutes of pieces, as a sentence."""
    about = [page["environment"] for page in pages]
    machines = {f"{one['processor']}, {one['cores']} cores" for one in about}
    versions, commits = {one["versions"]["torch"] for one in about}, {f"`{one['commit']}`" for one in about}
    spent = sum(sum(page["processor_minutes"].values()) for page in pages)
    found = [", ".join(sorted(each)) for each in (machines, versions, commits)]
    return f"On {found[0]}; torch {found[1]}; commits {found[2]}; {spent:.0f} processor minutes in all."
