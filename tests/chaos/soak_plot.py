"""Memory of each loader over its epochs, as small plots with a common unit."""

from pathlib import Path

from matplotlib.figure import Figure

from .measures import Use, grown, slope_of

COLUMNS = 4
TOTAL, OWN, LIMIT = "#1f5f99", "#d9822b", "#999999"


def draw(series: dict[str, list[Use]], out: Path) -> None:
    """One plot per loader: all memory and own memory in MB, and the growth of the second half."""
    rows = -(-len(series) // COLUMNS)
    figure = Figure(figsize=(3.1 * COLUMNS, 2.3 * rows + 0.5), layout="constrained")
    for at, (name, uses) in enumerate(series.items()):
        axes = figure.add_subplot(rows, COLUMNS, at + 1)
        epochs = range(1, len(uses) + 1)
        axes.plot(epochs, [one.rss for one in uses], color=TOTAL, lw=1.6, label="resident")
        axes.plot(epochs, [one.own for one in uses], color=OWN, lw=1.6, label="not shared")
        axes.axvline(len(uses) / 2, color=LIMIT, lw=0.8, ls=":")
        axes.set_ylim(0, 1.25 * max(one.rss for one in uses))
        half, last = uses[len(uses) // 2 :], uses[-1]
        words = "grows" if grown(uses) else "flat"
        axes.set_title(name, fontsize=10, loc="left", fontweight="bold")
        axes.set_title(f"{words}: {10 * slope_of(half, 'rss'):+.2f} MB / 10 epochs", fontsize=8, loc="right")
        axes.text(
            0.98,
            0.03,
            f"{last.threads} threads, {last.descriptors} files open",
            transform=axes.transAxes,
            ha="right",
            va="bottom",
            fontsize=7.5,
            color="#555555",
        )
        axes.tick_params(labelsize=8)
        axes.spines[["top", "right"]].set_visible(False)
        if at % COLUMNS == 0:
            axes.set_ylabel("MB", fontsize=9)
        if at >= len(series) - COLUMNS:
            axes.set_xlabel("epoch", fontsize=9)
        if at == 0:
            axes.legend(fontsize=7.5, frameon=False, loc="upper left", ncols=2)
    figure.savefig(out, dpi=110)
