"""Options from a file."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from viewstream.shards.cli import Positional, parse, peek
from viewstream.shards.errors import UserError
from viewstream.shards.settings import as_yaml


@dataclass(frozen=True)
class Options:
    """Some of each kind"""

    dir: Annotated[Path, "where", Positional] = Path()
    lr: Annotated[float, "rate", 0.0] = 0.1
    steps: Annotated[int | Literal["auto"], "steps", 1] = "auto"
    deep: Annotated[bool, "deep"] = False
    compile: Annotated[bool | Literal["auto"], "compile"] = "auto"
    names: Annotated[tuple[str, ...], "names"] = ("a",)
    kind: Annotated[Literal["one", "two"], "kind"] = "one"
    out: Annotated[str, "out"] = "o"


def parsed(tmp_path, text, *words, name="run.yaml"):
    (tmp_path / name).write_text(text)
    return parse(Options(), argv=["DIR", "--config", str(tmp_path / name), *words], description="d")[0]


def test_values_of_a_file_are_those_of_the_flags(tmp_path):
    text = "lr: 1e-3\nsteps: 7\ndeep: true\ncompile: false\nnames: [b, c]\nkind: two\nout: ''\n"
    wanted = Options(Path("DIR"), 1e-3, 7, True, False, ("b", "c"), "two", "")
    assert parsed(tmp_path, text) == wanted


def test_flags_win(tmp_path):
    text = "lr: 3\ndeep: true\nnames: [b]\n"
    assert parsed(tmp_path, text, "--lr", "4", "--no-deep", "--names", "x,y") == Options(
        Path("DIR"), 4.0, names=("x", "y")
    )


def test_the_config_of_a_run_is_such_a_file(tmp_path):
    config = {"recipe": {"lr": 2, "kind": "two"}, "run": {"out": "runs/a"}, "threads": 4, "precision": "bf16 on a GPU"}
    assert parsed(tmp_path, json.dumps(config), name="config.json") == Options(
        Path("DIR"), 2.0, kind="two", out="runs/a"
    )


def test_what_is_written_is_read_back(tmp_path):
    @given(
        st.floats(0, 1e6), st.integers(1), st.booleans(), st.lists(st.from_regex("[a-z]+", fullmatch=True), max_size=3)
    )
    def law(lr, steps, deep, names):
        recipe = {"lr": lr, "steps": steps, "deep": deep, "names": tuple(names)}
        text = as_yaml(recipe=recipe, run={"out": "a: b"})
        assert parsed(tmp_path, text) == Options(Path("DIR"), lr, steps, deep, names=tuple(names), out="a: b")

    law()


def test_the_options_that_decide_the_others_are_read_first(tmp_path):
    @dataclass(frozen=True)
    class Target:
        """What"""

        kind: Annotated[str, "kind"] = ""

    (tmp_path / "run.yaml").write_text("kind: two\nlr: 3\n")
    argv = ["--config", str(tmp_path / "run.yaml")]
    assert peek(Target(), argv) == Target("two")
    assert peek(Target(), [*argv, "--kind", "one"]) == Target("one")


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("lrr: 3", "unknown option 'lrr': did you mean 'lr'? --help lists them"),
        ("lr: fast", "lr: 'fast' is not of the form X"),
        ("lr: -1", "lr: -1 is less than 0"),
        ("kind: three", "kind: unknown value 'three'"),
        ("deep: 3", "deep is true or false, not 3"),
        ("lr: {a: 3}", "lr takes a value, not a mapping"),
        ("- lr", "no mapping"),
        ("a: [", "no YAML or JSON"),
        ("!!python/object/apply:os.system [true]", "no YAML or JSON"),
        ("dir: x", "unknown option 'dir'"),
        ("recipe: 3", "recipe is no mapping of options to values"),
        ("recipe: {lr: 3}\nrun: [out]", "run is no mapping of options to values"),
        ("recipe: {lr: 3}\nlr: 4", "lr stands beside recipe and run: move it into one of them"),
    ],
)
def test_a_mistake_in_a_file_is_named_with_the_file(text, words, tmp_path):
    with pytest.raises(UserError) as error:
        parsed(tmp_path, text)
    assert words in str(error.value)
    assert str(tmp_path / "run.yaml") in str(error.value)


def test_an_absent_file_is_named(tmp_path):
    with pytest.raises(UserError, match=r"none\.yaml cannot be read \(No such file"):
        parse(Options(), argv=["DIR", "--config", str(tmp_path / "none.yaml")], description="d")


def test_yaml_of_options_keeps_their_order():
    assert list(yaml.safe_load(as_yaml(run={"b": 1, "a": 2}))["run"]) == ["b", "a"]
