"""Charts of runs and sets, as figures of plotly."""

from collections.abc import Mapping, Sequence
from typing import Any

from viewstream.shards.errors import needs

COLORS = ("#17bebb", "#e4572e", "#5390d9", "#ffc914", "#76b041", "#9b5de5", "#2e282a", "#f15bb5")
Points = tuple[Sequence[float], Sequence[float]]  # x and y


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


def lines(title: str, curves: Mapping[str, Points], x: str = "optimizer step", *, dots: bool = False) -> Any:
    """A line for each name."""
    made = figure(title, x, legend=len(curves) > 1)
    for name, (across, up) in curves.items():
        made.add_scatter(x=[*across], y=[*up], name=name, mode="lines+markers" if dots else "lines")
    return made


def areas(title: str, curves: Mapping[str, Points], x: str, y: str) -> Any:
    """Areas on top of each other."""
    made = figure(title, x, y)
    for name, (across, up) in curves.items():
        made.add_scatter(x=[*across], y=[*up], name=name, stackgroup="all", mode="lines", line={"width": 0.5})
    return made


def dots(title: str, points: Mapping[str, Points], x: str, y: str, names: Sequence[str] = (), *, log: bool) -> Any:
    """Points for each name; `names` of the points are shown under the mouse."""
    made = figure(title, x, y, legend=len(points) > 1)
    for name, (across, up) in points.items():
        made.add_scatter(
            x=[*across], y=[*up], name=name, mode="markers", text=[*names], marker={"size": 7, "opacity": 0.7}
        )
    made.update_xaxes(type="log" if log else "linear")
    return made


def bars(title: str, heights: Sequence[float], names: Sequence[str], x: str, y: str, *, log: bool = False) -> Any:
    """Bars from left to right, without gaps where there are many; the names are shown under the mouse."""
    made = figure(title, x, y, log=log, legend=False)
    made.add_bar(x=[*range(len(heights))], y=[*heights], hovertext=[*names], marker={"line": {"width": 0}})
    made.update_layout(bargap=0.15 if len(heights) < 60 else 0)
    return made


def histogram(title: str, middles: Sequence[float], heights: Sequence[int], x: str, y: str) -> Any:
    """Bars without gaps at `middles`."""
    made = figure(title, x, y, legend=False)
    made.add_bar(x=[*middles], y=[*heights])
    made.update_layout(bargap=0.03)
    return made
