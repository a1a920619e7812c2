"""The ratios of one run of the suite against those of another one."""

from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

from viewstream.tools.bench.measuring.rounds import quartiles, ratio

TOLERANCE = 0.25  # machines and neighbors differ; a ratio that has lost more than this has lost it in the code
Results = Mapping[str, Mapping[str, Any]]  # the JSON of a part: figures by group


class Row(NamedTuple):
    """A ratio in both runs."""

    name: str
    saved: float
    fresh: float | None  # None: it was not measured
    peer: bool  # whether another program is part of it, which may be absent

    @property
    def fallen(self) -> bool:
        """Whether the fresh ratio is too low, or could have been measured and was not."""
        return not self.peer if self.fresh is None else self.fresh < self.saved * (1 - TOLERANCE)

    def __str__(self) -> str:
        fresh = "      -" if self.fresh is None else f"{self.fresh:7.3f}"
        verdict = "LOWER" if self.fallen else "not measured" if self.fresh is None else "ok"
        return f"{self.saved:7.3f} {fresh}  {verdict:<5}  {self.name}"


def compare(saved: Results, fresh: Results) -> list[Row]:
    """Every ratio of the saved run beside the fresh one."""
    now = dict(ratios(fresh))
    return [Row(name, value, now.get(name, (None, peer))[0], peer) for name, (value, peer) in ratios(saved)]


def ratios(results: Results) -> Iterator[tuple[str, tuple[float, bool]]]:
    """Name, value and whether another program is part of it: how many times as fast each case of ours is as the floor
    and as the strongest other program, by processor time."""
    for group, figures in results.items():
        if "cpu" not in figures or "unit" not in figures:
            continue
        peer = strongest(figures)
        for name in ours(figures):
            if figures["floor"]:
                yield f"{group}: {name} / {figures['floor']}", (ratio(figures, figures["floor"], name)[1], False)
            if peer and "decoded only" not in name:
                yield f"{group}: {name} / {peer}", (ratio(figures, peer, name)[1], True)


def ours(figures: Mapping[str, Any]) -> list[str]:
    """The cases of a group that are neither its floor nor other programs."""
    return [name for name in figures["cpu"] if name != figures["floor"] and name not in figures["peers"]]


def strongest(figures: Mapping[str, Any]) -> str:
    """The other program that needs the least processor time, among those that antialias where that matters; "" if there
    is none."""
    names = figures.get("antialiased", figures["peers"])
    return min(names, key=lambda name: quartiles(figures["cpu"][name])[1], default="")
