"""The README's section on speed, in sentences and one table, from the figures of the suite."""

import textwrap
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from viewstream.tools.bench.figures.check import Results, ours, strongest
from viewstream.tools.bench.measuring.rounds import quartiles, ratio


def lead(parts: Mapping[str, Results], charts: str = "docs/results/cpu") -> str:
    """The chart of the loaders in the folder `charts`, and the strongest other program first, then the floors."""
    loaders = {name: group for name, group in parts.get("loader", {}).items() if "unit" in group}
    if not loaders:
        return ""
    chart = f"![Loaders of this project and others: speed as a share of decoding alone]({charts}/loader.png)"
    return f"{chart}\n\n{_filled(_sentences(loaders))}"


def section(parts: Mapping[str, Results]) -> str:
    """The same for a page in docs, with one line per case of ours."""
    text = [found] if (found := lead(parts, "results/cpu")) else []
    rows = [row for results in parts.values() for name, group in results.items() for row in _row(name, group)]
    if rows:
        head = "| processor time of | of the floor | over the strongest other program |\n| --- | --- | --- |"
        text += ["\n".join([head, *rows])]
    more = "All figures with their quartiles, wall times and charts are in [performance](performance.md)."
    again = "`make bench` measures them again, `make bench-check` compares their ratios with the saved ones."
    return "\n\n".join([*text, _filled([more, again])])


def _filled(sentences: Iterable[str]) -> str:
    return textwrap.fill(" ".join(sentences), 130, break_long_words=False, break_on_hyphens=False)


def _sentences(loaders: Results) -> Iterator[str]:
    name, group = next(iter(loaders.items()))
    on, peer, floor = group["on"], strongest(group), group["floor"]
    whole = [case for case in ours(group) if "only" not in case and "planes" not in case]  # the pixels of --decode cpu
    best = max(whole, key=lambda case: ratio(group, floor, case)[1])
    share, wall = (ratio(group, floor, best, clock)[1] for clock in ("cpu", "wall"))
    if peer:
        times = f"{ratio(group, peer, best)[1]:.2f} times as fast"
        yield f"Speed: `{best}` is {times} as the strongest antialiased loader that is not ours ({peer}),"
    yield f"and reaches {share:.2f} of decoding alone ({wall:.2f} in wall time)."
    if stock := [ratio(group, each, best)[1] for each in group["stock"]]:
        yield f"It is {min(stock):.1f} to {max(stock):.1f} times as fast as stock loaders."
    yield f"{name[0].upper()}{name[1:]} of {group['images']}, at most 400 px; the host's work,"
    yield f"{group['threads']} threads on {on['cores']} cores of {on['cpu']},"
    yield f"medians of {len(group['cpu'][best])} rounds in turn; a GPU has not run them."


def _row(name: str, group: Mapping[str, Any]) -> Iterator[str]:
    """A line for each loader of ours, and of other cases with a floor or other programs for the quickest one."""
    floor, peer = group.get("floor"), group.get("peers") and strongest(group)
    if not floor and not peer:
        return
    mine = ours(group)
    if "antialiased" not in group:
        mine = [min(mine, key=lambda case: quartiles(group["cpu"][case])[1])]
    for case in mine:
        cost = quartiles(group["cpu"][case])[1]
        over = f"{ratio(group, peer, case)[1]:.2f} x {peer}" if peer and "only" not in case else ""
        share = f"{ratio(group, floor, case)[1]:.2f} of {floor.removeprefix('floor: ')}" if floor else ""
        yield f"| {name}: `{case}`, {cost:,.0f} us per {group['unit']} | {share} | {over} |"
