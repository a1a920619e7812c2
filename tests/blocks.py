"""README and the pages under docs: their code blocks, headings and links."""

import re
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).parents[1]
PAGES = ["README.md", *(str(page.relative_to(ROOT)) for page in sorted((ROOT / "docs").rglob("*.md")))]
FENCED = re.compile(r"^```([^\n]*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)


class Block(NamedTuple):
    """A code block of a page."""

    page: str  # relative to the checkout
    language: str
    text: str

    @property
    def name(self) -> str:
        """Its page and first line, which tell it from the others."""
        return f"{self.page}: {self.text.splitlines()[0]}"

    @property
    def commands(self) -> list[str]:
        """Its lines without comments, joined where they end with a backslash."""
        lines = self.text.replace("\\\n", " ").splitlines()
        return [" ".join(line.split()) for line in lines if line.strip() and not line.startswith("#")]


def blocks(page: str) -> list[Block]:
    """The code blocks of a page, in order."""
    return [Block(page, *found) for found in FENCED.findall((ROOT / page).read_text())]


def prose(page: str) -> str:
    """The text of a page without its code blocks."""
    return FENCED.sub("", (ROOT / page).read_text())


def section(page: str, heading: str) -> list[Block]:
    """The code blocks of a page below the heading `heading`, up to the next one."""
    parts = re.split(r"^## (.*)\n", (ROOT / page).read_text(), flags=re.MULTILINE)
    text = dict(zip(parts[1::2], parts[2::2], strict=True))[heading]
    return [Block(page, *found) for found in FENCED.findall(text)]


def anchors(page: str) -> set[str]:
    """What a link may name after #, as GitHub and mkdocs make it of the headings of a page."""
    headings = re.findall(r"^#+ (.*)$", prose(page), re.MULTILINE)
    kept = (re.sub(r"[^\w\- ]", "", heading.lower()) for heading in headings)
    return {re.sub(r"\s+", "-", text.strip()) for text in kept}


def links(page: str) -> list[str]:
    """The targets of a page's links and images that lie in the checkout."""
    found = re.findall(r"\]\(([^)\s]+)\)", re.sub(r"`[^`\n]*`", "", prose(page)))
    return [target for target in found if not re.match(r"[a-z]+:", target)]
