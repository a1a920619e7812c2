"""What README and the pages name can be followed: links, headings, options, recipes."""

import importlib
import re
from dataclasses import fields

import pytest

from viewstream.shards.cli import parser_of
from viewstream.trainers.recipes import METHODS, RECIPES, table
from viewstream.trainers.tasks.options import TASKS, options_of

from .blocks import PAGES, ROOT, anchors, links, prose

OPTION = re.compile(r"(?<![\w-])--([a-z][\w-]*)")
OTHERS = """
  originals (others are in the recipes) --aug --clsset --dist --dist-url --distributed --eval_mode --ltaug
    --multiprocessing-distributed --n_last_blocks --name --rank --trainset --valset --world-size
  torchrun --master-addr --master-port --max-restarts --nnodes --node-rank --nproc-per-node --rdzv-backend --rdzv-conf
    --rdzv-endpoint
  detectron2 --config-file --num-gpus
  Ray --generate --head --port
  SLURM --requeue
"""  # options of other programs that the pages name


@pytest.mark.parametrize("page", PAGES)
def test_every_link_of_a_page_leads_somewhere(page):
    for target in links(page):
        path, _, anchor = target.partition("#")
        file = (ROOT / page).parent / path if path else ROOT / page
        assert file.exists(), f"{page} links {target}: there is no such file"
        if anchor:
            there = str(file.resolve().relative_to(ROOT))
            assert anchor in anchors(there), f"{page} links {target}: {there} has no such heading"


def test_every_page_is_in_the_navigation_of_the_site():
    text = (ROOT / "docs/site/mkdocs.yml").read_text()
    named = set(re.findall(r"[\w/-]+\.md", text.partition("\nnav:")[2]))
    pages = {page.removeprefix("docs/") for page in PAGES if page.startswith("docs/")}
    assert named == {page for page in pages if not page.startswith("results/")}


def known_options() -> set[str]:
    """Every option of every program of this project."""
    names = {"config", "quiet", "help", "version"}
    files = [file for folder in ("tools", "trainers") for file in (ROOT / folder).rglob("*.py")]
    ours = (file for file in files if "run(main)" in file.read_text())
    for file in (file for file in ours if file.name not in ("console.py", "torchrun.py")):  # have no options of ours
        module = ".".join(["viewstream", *file.relative_to(ROOT).with_suffix("").parts])
        parser = parser_of(importlib.import_module(module).main)
        names |= {word.removeprefix("--") for action in parser._actions for word in action.option_strings}
    for options in (*METHODS.values(), *(type(options_of(task)) for task in TASKS)):
        names |= {field.name.replace("_", "-") for field in fields(options)}
    return names | {f"no-{name}" for name in names}


def test_every_option_that_a_page_names_exists():
    known = known_options() | set(OPTION.findall(table() + OTHERS))
    texts = {page: (ROOT / page).read_text() for page in [*PAGES, "SECURITY.md"]}
    named = {f"{page}: --{name}" for page, text in texts.items() for name in OPTION.findall(text)}
    unknown = sorted(entry for entry in named if entry.partition(": --")[2] not in known)
    assert not unknown, unknown


@pytest.mark.parametrize("method", METHODS)
def test_the_page_of_a_method_has_its_recipes_with_their_published_numbers(method):
    lines = table().splitlines()[2:]
    page = prose(f"docs/methods/{method}.md")
    for name in (name for name, recipe in RECIPES.items() if recipe().method == method):
        (line,) = [line for line in lines if line.startswith(f"| {name} |")]
        assert line.replace(f"| {name} | {method} |", f"| `{name}` |") in page
