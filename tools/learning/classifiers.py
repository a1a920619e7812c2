"""The classifiers of a long-tailed piece: numbers of each by thirds, and by class."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

THIRDS = ("many", "medium", "few", "all", "std")


class Classifier(NamedTuple):
    """A classifier, its accuracies by thirds (of `THIRDS`), and those of classes with their training images."""

    name: str
    thirds: Sequence[float]
    top1: Sequence[float]
    train_images: Sequence[int]


def classifiers(page: Mapping[str, Any]) -> Iterator[Classifier]:
    """Those of a piece's measures. Of the tau-normalized ones that with the highest accuracy on the test images."""
    for name, found in page["measures"].items():
        if "shots/std" not in found:
            continue
        yield _of(name, found, "", "top1")
        if taus := [key.split()[0] for key in found if key.startswith("tau=") and key.endswith("shots/all")]:
            best = max(taus, key=lambda tau: found[f"{tau} shots/all"])
            words = f"tau-normalized, {best.replace('=', ' = ')}, best of {len(taus)} on the test"
            yield _of(words, found, f"{best} ", f"top1 {best}")


def _of(name: str, found: Mapping[str, Any], start: str, column: str) -> Classifier:
    thirds = [found[f"{start}shots/{third}"] for third in THIRDS]
    return Classifier(name, thirds, found["classes"][column], found["classes"]["train_images"])
