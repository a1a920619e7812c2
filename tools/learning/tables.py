"""The tables of the experiments, in Markdown."""

from collections.abc import Iterator, Mapping
from statistics import mean, stdev
from typing import Any

from viewstream.tools.learning.classifiers import THIRDS, classifiers
from viewstream.tools.learning.origin import commands, ran

Page = Mapping[str, Any]  # what is kept of a piece
Pieces = Mapping[str, Page]
GEOMETRY = ("d-sd", "sd-sd", "stats")


def groups(pieces: Pieces) -> dict[str, list[Page]]:
    """The pieces by group: the seeds of one run."""
    found: dict[str, list[Page]] = {}
    for name, page in pieces.items():
        found.setdefault(name.rpartition("-")[0], []).append(page)
    return found


def values(pages: list[Page], measure: str, number: str) -> list[float]:
    """A number of a measure, of those pieces that have it."""
    return [page["measures"][measure][number] for page in pages if number in page["measures"].get(measure, {})]


def first(page: Page, measure: str, start: str) -> list[float]:
    """The first number of a measure whose name begins with `start`."""
    found = page["measures"].get(measure, {})
    return [value for name, value in found.items() if name.startswith(start)][:1]


def knn_of(pages: list[Page]) -> list[float]:
    """Top-1 of the weighted vote of each piece."""
    return [value for page in pages for value in first(page, "knn", "knn/top1")]


def percent(found: list[float]) -> str:
    """Mean in percent; of several with their standard deviation."""
    if not found:
        return ""
    return f"{100 * mean(found):.1f}" + (f" ± {100 * stdev(found):.1f}" if len(found) > 1 else "")


def markdown(head: list[str], rows: list[list[str]]) -> str:
    """Rows as a table."""
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def minutes(pages: list[Page]) -> str:
    """Processor minutes of the trainings."""
    spent = [page["processor_minutes"]["training"] for page in pages if "training" in page["processor_minutes"]]
    return f"{mean(spent):.1f}" if spent else ""


def ranking(pieces: Pieces) -> str:
    """kNN and linear accuracy of each group, the best first."""
    scores = {group: knn_of(pages) for group, pages in groups(pieces).items()}
    rows = [
        [
            f"`{group}`",
            pages[0].get("recipe", {}).get("arch", ""),
            percent(scores[group]),
            percent(values(pages, "linear", "shots/all")),
            str(len(pages)),
            minutes(pages),
        ]
        for group, pages in sorted(groups(pieces).items(), key=lambda item: -mean(scores[item[0]] or [0]))
        if scores[group]
    ]
    return markdown(["", "network", "kNN top-1, %", "linear top-1, %", "seeds", "processor minutes"], rows)


def momenta(pieces: Pieces) -> str:
    """kNN of each method by the momentum of its teacher, from a slow teacher to a fast one."""
    found: dict[str, dict[float, str]] = {}
    for page in pieces.values():
        found.setdefault(page["recipe"]["method"], {})[page["recipe"]["key_momentum"]] = percent(knn_of([page]))
    tried = sorted({momentum for cells in found.values() for momentum in cells}, reverse=True)
    rows = [[f"`{method}`", *(cells.get(momentum, "") for momentum in tried)] for method, cells in found.items()]
    return markdown(["kNN top-1, %", *(f"{momentum:g}" for momentum in tried)], rows)


def geometry(pieces: Pieces) -> str:
    """Instance discrimination, alignment and uniformity on the static set."""
    head = ["", "d-sd top-1, %", "sd-sd top-1, %", "alignment", "alignment in classes", "uniformity", "kNN, %"]
    rows = []
    for group, pages in groups(pieces).items():
        page = pages[0]
        if "stats" not in page["measures"]:
            continue
        shown = [
            f"{page['measures']['stats'][f'stats/{name}']:.2f}"
            for name in ("SD-SD align", "SD cls-align", "SD uniform")
        ]
        top = [f"{value:.1f}" for mode in ("d-sd", "sd-sd") for value in first(page, mode, "")]
        rows.append([f"`{group}`", *top, *shown, percent(first(page, "knn", "knn/top1"))])
    return markdown(head, rows)


def transfer(pieces: Pieces) -> str:
    """Accuracy on Caltech-101, frozen and finetuned, with the rates that were found."""
    rows = []
    for group, pages in groups(pieces).items():
        found = pages[0]["measures"]
        cells = [_at_rate(found[name]) if name in found else "" for name in ("frozen", "finetuned")]
        if any(cells):
            rows.append([f"`{group}`", *cells])
    return markdown(["", "frozen, % (rate)", "finetuned, % (rate)"], rows)


def _at_rate(found: Mapping[str, Any]) -> str:
    if "rate" in found:
        return f"{percent([found['best top1']])} ({found['rate']:g})"
    return f"{percent([found['top1']])} (logistic regression)"


def tails(pieces: Pieces) -> str:
    """Many-, medium- and few-shot accuracy by thirds, their spread, and the spread over classes."""
    rows = [
        [f"`{group}`, {one.name}", *(f"{100 * value:.1f}" for value in (*one.thirds, stdev(one.top1)))]
        for group, pages in groups(pieces).items()
        for one in classifiers(pages[0])
    ]
    return markdown(["", *THIRDS[:-1], "spread of thirds", "spread of classes"], rows)


def runs(pieces: Pieces) -> str:
    """Every command, then what all pieces ran on."""
    rows = [[name, f"`{call}`"] for name, call in commands(groups(pieces)).items()]
    return f"{markdown(['', 'command'], rows)}\n\n{ran(pieces.values())}"


def loaders(pieces: Pieces) -> str:
    """A digest of the losses of each run, how far they are from those of the first run, and kNN."""
    reference = next(iter(pieces.values()))
    rows = []
    for name, page in pieces.items():
        apart = [abs(a - b) for a, b in zip(_losses(page), _losses(reference), strict=True)]
        same = page["losses_sha256"] == reference["losses_sha256"]
        words = "equal" if same else f"{apart[0]:.0e} at first, at most {max(apart):.0e}"
        rows.append([f"`{name[:-2]}`", f"`{page['losses_sha256'][:8]}`", words, percent(knn_of([page]))])
    return markdown(["", "losses, digest", "from those of the first run", "kNN top-1, %"], rows)


def _losses(page: Page) -> list[float]:
    return [row["loss"] for row in page["log"] if "loss" in row]


def tables_of(experiment: str, pieces: Pieces) -> Iterator[tuple[str, str]]:
    """Every table that the kept pieces of an experiment fill, with its name."""
    if not pieces:
        return
    if experiment.startswith("cifar10"):
        yield f"{experiment} ranking", ranking(pieces)
    if any("stats" in page["measures"] for page in pieces.values()):
        yield f"{experiment} geometry", geometry(pieces)
    if any("frozen" in page["measures"] for page in pieces.values()):
        yield f"{experiment} transfer", transfer(pieces)
    if experiment == "momenta":
        yield "momenta knn", momenta(pieces)
    if experiment == "tail":
        yield "tail shots", tails(pieces)
    if experiment == "loaders":
        yield "loaders losses", loaders(pieces)
    yield f"{experiment} commands", runs(pieces)
