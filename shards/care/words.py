"""Words for classes whose names are numbers, as the wnids of ImageNet, from a list that a source brings."""

import re
from collections import Counter
from pathlib import Path
from typing import Any

from ..errors import UserError, plural
from ..names import open_file
from ..unpack import parsed_json


def worded(classes: tuple[str, ...], file: Path) -> tuple[str, ...]:
    """The first words that the list has for each class; classes without words keep their names, and those of one word
    show them too.

    The list: lines `n01440764 tench, Tinca tinca` (LOC_synset_mapping.txt; also with a tab), or JSON, either
    {"0": ["n01440764", "tench"]} (imagenet_class_index.json) or {"n01440764": "tench"}. UserError if it cannot be read
    or has none of the classes."""
    try:
        with open_file(file) as opened:
            text = opened.read().decode()
        found = _of_json(parsed_json(text)) if file.suffix.lower() == ".json" else _of_lines(text)
    except (OSError, ValueError) as error:
        raise UserError(f"--words {file} cannot be read ({error}): name a text file or a .json") from error
    if not any(name in found for name in classes):
        like = f", such as {classes[0]}" if classes else ""
        raise UserError(
            f"--words {file} has words for {plural(len(found), 'class')}, none of them in this set: give it lines "
            f"`class words` with the classes of the set{like}"
        )
    first = [_first(found[name]) or name if name in found else name for name in classes]
    twice = Counter(first)
    return tuple(f"{word} ({name})" if twice[word] > 1 else word for word, name in zip(first, classes, strict=True))


def _first(words: str) -> str:
    return re.split("[,;]", words)[0].strip().replace("_", " ")


def _of_lines(text: str) -> dict[str, str]:
    parts = (line.split(maxsplit=1) for line in text.splitlines())
    return {part[0]: part[1] for part in parts if len(part) == 2}


def _of_json(page: Any) -> dict[str, str]:
    if not isinstance(page, dict):
        raise ValueError("it is no object from classes, or numbers, to words")
    pairs = [tuple(pair) if isinstance(pair, list) else (name, pair) for name, pair in page.items()]
    if not all(len(pair) == 2 and all(isinstance(word, str) for word in pair) for pair in pairs):
        raise ValueError("it has other values than words, or than pairs of class and words")
    return {pair[0]: pair[1] for pair in pairs}
