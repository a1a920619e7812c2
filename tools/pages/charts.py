"""Charts of runs and sets, as figures of plotly."""

from collections.abc import Mapping, Sequence
from html import escape
from typing import Any

from viewstream.shards.errors import needs

COLORS = ("#17bebb", "#e4572e", "#5390d9", "#ffc914", "#76b041", "#9b5de5", "#2e282a", "#f15bb5")
NAMED, LETTERS, WHOLE = 24, 16, 8  # bars that have names, letters of a name, bars so low that an axis has whole ticks
Points = tuple[Sequence[float], Sequence[float]]  # x and y


def colors(names: Sequence[str]) -> dict[str, str]:
    """A color for each name."""
    return {name: COLORS[number % len(COLORS)] for number, name in enumerate(names)}


def figure(title: str, x: str, y: str = "", *, log: bool = False, legend: bool = True) -> Any:
    """An empty figure in the style of the pages."""
    made = needs("plotly.graph_objects").Figure()
    made.update_layout(
        template="plotly_white",
        colorway=COLORS,
        title={"text": title, "font": {"size": 15}, "x": 0.02, "y": 0.97},
        margin={"l": 52, "r": 12, "t": 44, "b": 44},
        showlegend=legend,
        legend={"orientation": "h", "y": 1.0, "yanchor": "bottom", "x": 1, "xanchor": "right"},
        autosize=True,
    )
    made.update_xaxes(title={"text": x, "standoff": 6})
    made.update_yaxes(title={"text": y}, type="log" if log else "linear")
    return made


def lines(
    title: str, curves: Mapping[str, Points], names: Sequence[str], *, dots: bool = False, zero: bool = False
) -> Any:
    """A line for each name that has points; `names` are those of all charts, each of which has its color on the whole
    page; `zero`: on an axis that begins there."""
    made = figure(title, "optimizer step", legend=False)
    for name, color in colors(names).items():
        if name in curves:
            (across, up), mode = curves[name], "lines+markers" if dots else "lines"
            made.add_scatter(x=[*across], y=[*up], name=name, mode=mode, line={"color": color})
    made.update_yaxes(rangemode="tozero" if zero else "normal")
    return made


def areas(title: str, curves: Mapping[str, Points], x: str, y: str) -> Any:
    """Areas on top of each other."""
    made = figure(title, x, y)
    made.update_layout(margin={"t": 78})  # its legend takes two lines below the title
    for name, (across, up) in curves.items():
        made.add_scatter(x=[*across], y=[*up], name=name, stackgroup="all", mode="lines", line={"width": 0.5})
    return made


def dots(
    title: str, points: Mapping[str, Points], names: Sequence[str], x: str, y: str, about: Sequence[str], *, log: bool
) -> Any:
    """Points for each name that has some; `names` as for lines, `about` the points is shown under the mouse."""
    made = figure(title, x, y, legend=False)
    for name, color in colors(names).items():
        if name in points:
            across, up = points[name]
            marker = {"size": 7, "opacity": 0.7, "color": color}
            made.add_scatter(x=[*across], y=[*up], name=name, mode="markers", text=[*about], marker=marker)
    made.update_xaxes(type="log" if log else "linear")
    return made


def bars(title: str, heights: Sequence[float], names: Sequence[str], x: str, y: str, *, log: bool = False) -> Any:
    """Bars from left to right, with their names; of many bars without gaps, and the names are shown under the mouse."""
    made = figure(title, x, y, log=log, legend=False)
    made.add_bar(x=[*range(len(heights))], y=[*heights], hovertext=[*names], marker={"line": {"width": 0}})
    made.update_layout(bargap=0.15 if len(heights) < 60 else 0)
    if len(heights) <= NAMED:
        short = [name if len(name) <= LETTERS else f"{name[: LETTERS - 1]}…" for name in names]
        made.update_xaxes(tickvals=[*range(len(heights))], ticktext=[*map(escape, short)], automargin=True)
        made.update_xaxes(ticklabeloverflow="allow")
    return made if log else _whole(made, heights)


def histogram(title: str, middles: Sequence[float], heights: Sequence[int], x: str, y: str) -> Any:
    """Bars without gaps at `middles`."""
    made = figure(title, x, y, legend=False)
    made.add_bar(x=[*middles], y=[*heights])
    made.update_layout(bargap=0.03)
    return _whole(made, heights)


def _whole(made: Any, heights: Sequence[float]) -> Any:
    """The figure, without ticks between low whole numbers: there is no half of a sample."""
    if max(heights, default=0) <= WHOLE:
        made.update_yaxes(dtick=1)
    return made
