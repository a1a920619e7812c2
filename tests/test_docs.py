"""The documentation names things that exist: functions, public names, files, snippets."""

import ast
import importlib
import re

import pytest

from .blocks import PAGES, ROOT

FACES = ("shards", "augment", "pipeline", "trainers", "testing")
FUNCTIONS = (ROOT / "docs/functions.md").read_text()


def resolve(dotted):
    """The object of `room.module.name`, imported as deep as modules go."""
    module, parts = importlib.import_module("viewstream"), dotted.split(".")
    for depth, part in enumerate(parts):
        try:
            module = importlib.import_module(".".join(["viewstream", *parts[: depth + 1]]))
        except ModuleNotFoundError:
            found = module
            for name in [part, *parts[depth + 1 :]]:
                found = getattr(found, name)
            return found
    return module


def named(text):
    """Every `room.module.name` in a page, and the names after it in the same cell."""
    for cell in re.findall(r"^\| ((?:`[^`|]+`(?:, )?)+) \|", text, flags=re.MULTILINE):
        home = ""
        for name in re.findall(r"`([\w.]+)", cell):
            home = name.rpartition(".")[0] if name.partition(".")[0] in FACES else home
            yield name if "." in name else f"{home}.{name}"


@pytest.mark.parametrize("name", sorted(set(named(FUNCTIONS.partition("## Functions on plain")[2]))))
def test_a_function_in_the_docs_exists(name):
    assert callable(resolve(name))


@pytest.mark.parametrize("face", FACES)
def test_every_public_name_can_be_imported_and_is_documented(face):
    package = importlib.import_module(f"viewstream.{face}")
    section = FUNCTIONS.partition(f"### `viewstream.{face}`")[2].partition("###")[0]
    for name in package.__all__:
        assert getattr(package, name) is not None
        assert f"`{name}`" in section, f"docs/functions.md does not list viewstream.{face}.{name}"
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        package.nothing  # noqa: B018


def test_the_faces_agree_with_what_type_checkers_see():
    for face in FACES:
        tree = ast.parse((ROOT / face / "__init__.py").read_text())
        seen = {alias.name for node in ast.walk(tree) if isinstance(node, ast.ImportFrom) for alias in node.names}
        public = importlib.import_module(f"viewstream.{face}").__all__
        assert set(public) <= seen


def test_snippets_of_the_readme_use_only_public_names():
    blocks = re.findall(r"```python\n(.*?)```", (ROOT / "README.md").read_text(), flags=re.DOTALL)
    imports = [n for block in blocks for n in ast.walk(ast.parse(block)) if isinstance(n, ast.ImportFrom)]
    ours = [n for n in imports if n.module and n.module.startswith("viewstream")]
    assert len(ours) >= 4
    for node in ours:
        face = node.module.removeprefix("viewstream.")
        assert face in FACES
        assert {alias.name for alias in node.names} <= set(importlib.import_module(node.module).__all__)


@pytest.mark.parametrize("page", [*PAGES, "SECURITY.md"])
def test_files_that_a_page_names_exist(page):
    text = (ROOT / page).read_text()
    tops = "|".join((*FACES, "tools", "tests", "docs", "examples"))
    for path in re.findall(rf"(?<![\w/.])((?:{tops})/[\w/]+\.(?:py|md|png|json|sbatch))\b", text):
        assert (ROOT / path).exists(), f"{page} names {path}"


def test_an_old_path_raises_module_not_found_with_its_name():
    for old in ("shards.read", "pipeline.stream", "trainers.moco", "augment.device"):
        with pytest.raises(ModuleNotFoundError, match=rf"viewstream\.{old}"):
            importlib.import_module(f"viewstream.{old}")
