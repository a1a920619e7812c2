"""The search for a learning rate: some values at first, and others beyond while the best of them lies at an end."""

from collections.abc import Callable, Sequence


def searched(rates: Sequence[float], measured: Callable[[float], float]) -> tuple[float, dict[float, float]]:
    """(the best rate, what `measured` says of each that was tried). `rates` ascend by one factor, two at least."""
    factor = rates[1] / rates[0]
    found: dict[float, float] = {}
    best, todo = rates[0], [*rates]
    while todo:
        found |= {rate: measured(rate) for rate in todo}
        best = max(found, key=lambda rate: found[rate])
        beyond = [best * factor] * (best == max(found)) + [best / factor] * (best == min(found))
        todo = [float(f"{rate:.6g}") for rate in beyond]
    return best, found
