"""Where the numbers of an experiment come from: commands, machine, versions, commits."""

from collections.abc import Collection, Mapping, Sequence
from typing import Any


def commands(groups: Mapping[str, Sequence[Mapping[str, Any]]]) -> dict[str, str]:
    """The command of each group's training and of each measure, of the first seed; none of rates that were tried."""
    calls: dict[str, str] = {}
    for group, pages in groups.items():
        made, measures = pages[0]["commands"], pages[0]["measures"]
        for name, call in made.items():
            what = name if "training" in made else f"`{group}`, {name}"
            if name.rpartition("-")[0] not in measures:
                calls.setdefault(f"`{group}`" if name == "training" else what, call)
    return calls


def ran(pages: Collection[Mapping[str, Any]]) -> str:
    """Machines, versions, commits and minutes of pieces, as a sentence."""
    about = [page["environment"] for page in pages]
    machines = {f"{one['processor']}, {one['cores']} cores" for one in about}
    versions = {one["versions"]["torch"] for one in about}
    commits = {f"`{one}`" for page in pages for one in page.get("commits", [page["environment"]["commit"]])}
    spent = sum(sum(page["processor_minutes"].values()) for page in pages)
    found = [", ".join(sorted(each)) for each in (machines, versions, commits)]
    return f"On {found[0]}; torch {found[1]}; commits {found[2]}; {spent:.0f} processor minutes in all."
