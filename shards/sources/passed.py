"""What a source holds and a build leaves out: counted, with a reason, never dropped in silence."""

from collections.abc import Iterator
from dataclasses import dataclass, field

from ..errors import UserError
from ..info import JSON

NAMES = 3  # first names kept of each reason


@dataclass
class PassedOver:
    """Files, members or folders of a source that a build does not take, by reason. Cheap for millions of names."""

    counts: dict[str, int] = field(default_factory=dict)
    names: dict[str, list[str]] = field(default_factory=dict)  # the first NAMES of each reason

    def add(self, reason: str, name: str) -> None:
        """Count `name`; `reason` follows a number, as in `12 files without an image suffix`."""
        self.counts[reason] = self.counts.get(reason, 0) + 1
        first = self.names.setdefault(reason, [])
        if len(first) < NAMES:
            first.append(name)

    def join(self, other: "PassedOver") -> None:
        """Count what `other` counts, after its own."""
        for reason, count in other.counts.items():
            self.counts[reason] = self.counts.get(reason, 0) + count
            first = self.names.setdefault(reason, [])
            first += other.names[reason][: NAMES - len(first)]

    def __bool__(self) -> bool:
        return bool(self.counts)

    def report(self) -> list[JSON]:
        """For `dataset.json`: reason, count and first names."""
        return [{"reason": reason, "count": n, "names": self.names[reason]} for reason, n in self.counts.items()]

    def refuse(self, where: object) -> None:
        """UserError that lists everything passed over, for `--strict`."""
        if self:
            lines = "; ".join(sentences(self.report()))
            raise UserError(f"{where} holds what a build leaves out ({lines}): remove it, or leave out --strict")


def sentences(report: list[JSON]) -> Iterator[str]:
    """A sentence for each reason: `12 files without an image suffix: a.txt, b.txt, c.txt and 9 more`."""
    for line in report:
        more = line["count"] - len(line["names"])
        yield f"{line['count']:,} {line['reason']}: {', '.join(line['names'])}{f' and {more:,} more' if more else ''}"
