"""Minimized hostile files that once broke a parser, and a few mutations of whole ones; `make fuzz` tries a million."""

import random
from pathlib import Path
from typing import Any

import pytest

from .parsers import Parser, parsers
from .seeds import seeds

FILES = Path(__file__).parent / "files"
NAMES = sorted(path.name for path in FILES.iterdir())
MUTATIONS = 60  # of each kind of file
TOKENS = (
    b"\xff" * 8,
    b"\0" * 8,
    b"\x7f" + b"\xff" * 7,
    b"-1",
    b"1e999",
    b"NaN",
    b"[" * 3000,
    b"9" * 30,
    b"\xff\xd8",
    b"../",
)


@pytest.fixture(scope="module")
def parse(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Parser]:
    return parsers(tmp_path_factory.mktemp("parsed") / "files")


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> dict[str, list[bytes]]:
    return seeds(tmp_path_factory.mktemp("seeds"))


def mutated(data: bytes, rng: random.Random) -> bytes:
    """The data with a few bytes changed, cut out, doubled or replaced by TOKENS."""
    for _ in range(rng.randint(1, 4)):
        at, end = sorted(rng.randint(0, len(data)) for _ in range(2))
        change: Any = rng.choice(("flip", "cut", "double", "token"))
        if change == "flip" and at < len(data):
            data = data[:at] + bytes([data[at] ^ 1 << rng.randrange(8)]) + data[at + 1 :]
        elif change == "cut":
            data = data[:at] + data[end:]
        elif change == "double" and len(data) < 1 << 16:
            data = data[:end] + data[at:]
        else:
            token = rng.choice(TOKENS)
            data = data[:at] + token + data[at + rng.choice((0, len(token))) :]
    return data


@pytest.mark.parametrize("name", NAMES)
def test_files_that_broke_a_parser_do_so_no_more(name, parse):
    for path in sorted((FILES / name).iterdir()):
        parse[name](path.read_bytes())


def test_whole_files_are_parsed(parse, whole):
    assert whole.keys() == parse.keys()
    for name, files in whole.items():
        for data in files:
            parse[name](data)


@pytest.mark.parametrize("name", NAMES)
def test_mutations_of_a_whole_file_are_parsed_or_refused(name, parse, whole):
    rng = random.Random(name)
    for number in range(MUTATIONS):
        data = mutated(rng.choice(whole[name]), rng)
        try:
            parse[name](data)
        except BaseException as error:
            raise AssertionError(f"mutation {number} of {name}: {data[:200]!r}") from error


def test_the_files_are_small():
    assert sum(path.stat().st_size for path in FILES.rglob("*") if path.is_file()) < 200_000
