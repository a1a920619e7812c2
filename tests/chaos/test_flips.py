"""Damaged files of every kind are found, or change nothing, wherever a checksum is claimed; `make flips` tries many."""

import random

import pytest

from .damage import damaged
from .flip_kinds import kinds
from .flips import Bench, bench

NAMES = list(kinds(""))
PROGRAMS = {
    "tar": ("tools/verify_shards.py", "set"),
    "dataset.json": ("tools/verify_shards.py", "set"),
    "static set": ("tools/verify_shards.py", "static"),
    "last.pt": ("tools/convert_checkpoint.py", "run/last.pt", "out.pth", "--to", "moco"),
    "converted .safetensors": ("tools/convert_checkpoint.py", "converted/net.safetensors", "out.pth", "--to", "moco"),
}


@pytest.fixture(scope="module")
def on():
    with bench() as made:
        yield made


def tried(on: Bench, name: str, numbers: range, seed: int) -> None:
    for number in numbers:
        what, outcomes = on.tries(on.kinds[name], number, seed)
        bad = [f"{one.name}: {what}, {one.check.name}: {one.words}" for one in outcomes if one.bad]
        assert not bad, bad


@pytest.mark.parametrize("name", NAMES)
def test_damage_of_any_file_is_found_or_harmless_where_a_checksum_is_claimed(on, name):
    tried(on, name, range(1), seed=1)


@pytest.mark.full
@pytest.mark.parametrize("name", NAMES)
def test_much_damage_of_any_file_is_found_or_harmless_where_a_checksum_is_claimed(on, name):
    tried(on, name, range(20), seed=2)


@pytest.mark.full
@pytest.mark.parametrize("name", PROGRAMS)
def test_a_program_names_damage_in_one_line(on, name, program, tmp_path):
    script, *words = PROGRAMS[name]
    words = [on.work / word if (on.whole / word).exists() else word for word in words]
    words = [tmp_path / word if str(word).startswith("out.") else word for word in words]
    data = {file: (on.work / file).read_bytes() for file in on.kinds[name].files(on.whole)}
    file = next(iter(data))
    half = len(data[file]) // 2
    changed = data[file][:half] + bytes([data[file][half] ^ 1]) + data[file][half + 1 :]
    (on.work / file).write_bytes(changed)
    done = program(script, *words)
    (on.work / file).write_bytes(data[file])
    assert done.returncode == 2, done.stderr
    assert len(done.stderr.strip().splitlines()) == 1
    assert done.stderr.startswith("error: ")


def test_every_file_that_the_zoo_holds_is_of_a_kind(on):
    held = {path.relative_to(on.whole) for path in on.whole.rglob("*") if path.is_file() and path.stat().st_size}
    kept = {file for kind in on.kinds.values() for file in kind.files(on.whole)}
    others = {str(path) for path in held - kept if path.parts[0] not in ("images", "raw", "val")}
    assert others == {"run/rank-0.log", "run/epoch-0002.pt"}


def test_damage_is_a_function_of_the_seed_and_changes_the_data():
    data = bytes(range(256)) * 40
    for number in range(50):
        changed, what = damaged(data, random.Random(number))
        assert changed != data
        assert (changed, what) == damaged(data, random.Random(number))


def test_a_reader_that_passes_damage_on_is_found_out(on):
    kind = on.kinds["folder"]
    check = next(one for one in kind.checks if one.name == "folder")
    names = [one.name for n in range(12) for one in on.tries(kind, n, seed=7)[1] if one.check is check]
    assert "silent" in names
