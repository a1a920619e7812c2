"""The commands and snippets of README and the pages run in their order on generated textures; the site builds."""

import importlib
import os
import re
import shutil
import stat
import subprocess
import sys
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from .blocks import PAGES, ROOT, blocks
from .test_docs import FACES

CALLS = re.compile(r"^\s*(?:\$ )?(?:viewstream|python|torchrun|pip|make|ray|sbatch|export|source|for) ", re.MULTILINE)
INSTALLS = "installs packages from a network; tests/test_setup.py and the examples do"
ELSEWHERE = {
    "docs/clusters.md": "needs a cluster, a store or other nodes: tests/clusters run it against stand-ins",
    "docs/long-tail.md": "needs 5,000 images of a class: tests/trainers/tasks/test_long_tail_page.py has them",
}
NOT_RUN = {  # page: first line -> why
    "README.md: make setup                   # .venv with torch and all loaders: 3 GB to load, 8 GB of disk": INSTALLS,
    "docs/install.md: make setup": INSTALLS,
    "docs/results.md: viewstream experiments --list": "trains for hours: test_experiments.py has a small one",
    "docs/checkpoints.md: python train_net.py --config-file configs/pascal_voc_R_50_C4_24k_moco.yaml --num-gpus 8 "
    "MODEL.WEIGHTS moco.pkl": "is a program of detectron2",
} | {block.name: why for page, why in ELSEWHERE.items() for block in blocks(page) if block.language == "bash"}
AS_IT_STANDS = ("docs/start.md",)  # pages whose commands are small already
BUILDERS = ("README.md", "docs/imagenet.md", "docs/shards.md")  # pages that build the sets that they name
GIVEN = {  # a name on the pages -> what it is
    **{f"data/shards/imagenet-{name}-train": "sets/train" for name in ("full", "lt", "lt6")},
    **{f"data/shards/imagenet-{name}-val": "sets/val" for name in ("full", "lt")},
    **{"SET": "sets/train", "VAL": "sets/val", "data/shards/textures": "sets/train"},
}
PLACES = {  # of the pages, outside of the folder that they run in -> within
    "/data/imagenet": "images",
    "/data/my-tars": "my-tars",
    "--source PATH": "--source images",
    'device="cuda"': 'device="cpu"',
}
RUN = {page: [b for b in blocks(page) if b.language in ("bash", "python") and b.name not in NOT_RUN] for page in PAGES}


def environment(folder: Path) -> dict[str, str]:
    """With `viewstream` and `python` that make runs small, and the places that the programs look for."""
    (folder / "bin").mkdir(exist_ok=True)
    for name in ("viewstream", "python"):
        script = folder / "bin" / name
        script.write_text(f'#!/bin/sh\nexec "{sys.executable}" "{ROOT}/tests/shortened.py" {name} "$@"\n')
        script.chmod(script.stat().st_mode | stat.S_IXUSR)
    path = os.pathsep.join([str(folder / "bin"), os.environ["PATH"]])
    more = {"PYTHONPATH": os.pathsep.join(sys.path), "OMP_NUM_THREADS": "1", "HOME": str(folder), "IMAGENET": "images"}
    return {**os.environ, **more, "PATH": path}


def bash(text: str, folder: Path) -> None:
    """Run a block in `folder`; a failure shows its command and what it printed."""
    call = ["bash", "-exc", text]
    done = subprocess.run(call, cwd=folder, env=environment(folder), capture_output=True, text=True, timeout=3600)
    assert done.returncode == 0, f"{text}\n{done.stdout[-2000:]}\n{done.stderr[-3000:]}"


def table(images: Path, file: Path) -> None:
    """Write class folders as a table of Hugging Face with ten classes."""
    classes = sorted(images.iterdir())[:10]
    rows = [(path.read_bytes(), label) for label, folder in enumerate(classes) for path in sorted(folder.iterdir())]
    columns = {"img": [{"bytes": data, "path": None} for data, _ in rows], "label": [label for _, label in rows]}
    file.parent.mkdir(exist_ok=True)
    pq.write_table(pa.table(columns), file)


@pytest.fixture(scope="module")
def made(tmp_path_factory) -> Path:
    """A folder with what the pages take as given: images, sets, tars, tables, a run."""
    folder = tmp_path_factory.mktemp("given")
    bash("viewstream textures --out images --train 24 --val 40", folder)
    bash("viewstream build --source images --out sets/train", folder)
    bash("viewstream build --source images --split val --out sets/val", folder)
    small = "--size 32 --batch-size 32 --epochs 1 --queue 64 --bn-groups 2 --loader webdataset --device cpu"
    train = f"-m viewstream train --arch resnet18 {small} --data sets/train --out runs/RUN"
    bash(f"{sys.executable} {train}", folder)
    for split, name in (("train", "train"), ("val", "test")):
        table(folder / "images" / split, folder / "CIFAR" / f"{name}-00000.parquet")
    (folder / "my-tars").mkdir()
    for tar in (folder / "sets/train").glob("*.tar"):
        shutil.copy(tar, folder / "my-tars")
    return folder


@pytest.fixture
def home(made, tmp_path) -> Path:
    """A copy of what is given."""
    return shutil.copytree(made, tmp_path, dirs_exist_ok=True)


def name(home: Path) -> None:
    """Give the names of the pages to what is given."""
    for page_name, target in GIVEN.items():
        path = home / page_name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.symlink_to(home / target)


@pytest.mark.full
@pytest.mark.parametrize("page", [page for page in PAGES if RUN[page] and page not in AS_IT_STANDS])
def test_the_commands_of_a_page_run_in_their_order(page, home):
    if page not in BUILDERS:
        name(home)
    for block in (block for block in RUN[page] if block.language == "bash"):
        text = block.text
        for place, here in PLACES.items():
            text = text.replace(place, here)
        bash(text, home)


@pytest.mark.full
@pytest.mark.parametrize("page", [page for page in PAGES if any(block.language == "python" for block in RUN[page])])
def test_the_snippets_of_a_page_run_one_after_the_other(page, home):
    text = "from viewstream.augment import evaluation\nfrom torchvision.transforms import Compose, Resize, ToTensor\n"
    text += "transform = Compose([Resize((32, 32)), ToTensor()])\n"
    text += "".join(block.text for block in RUN[page] if block.language == "python")
    for place, here in PLACES.items():
        text = text.replace(place, here)
    name(home)
    (home / "snippets.py").write_text(text)
    bash(f"{sys.executable} snippets.py", home)


@pytest.mark.full
def test_the_commands_of_ten_minutes_run_as_they_stand(tmp_path):
    pytest.importorskip("plotly", reason="plotly is not installed: the extra 'report' brings it")
    commands = [line for block in RUN["docs/start.md"] for line in block.commands]
    assert len(commands) == 13
    for line in commands:
        assert line.startswith("viewstream ")
        bash(f"{sys.executable} -m {line}", tmp_path)
    for made in ("data/views.png", "data/curves.png", "data/report.html", "runs/first/step-25.png"):
        assert (tmp_path / made).stat().st_size > 10_000


def test_a_block_that_is_not_run_is_named_with_its_reason():
    there = [block for page in PAGES for block in blocks(page)]
    names = [block.name for block in there]
    assert set(NOT_RUN) <= set(names)
    twice = [name for name in NOT_RUN if names.count(name) > 1 and name.partition(":")[0] not in ELSEWHERE]
    assert not twice, "a block with the same first line would not be run either"
    others = [block for block in there if block.language not in ("bash", "python")]
    assert not [block.name for block in others if CALLS.search(block.text)], "commands belong into ```bash"
    assert {block.language for block in others} <= {"", "rooms"}


@pytest.mark.full
def test_the_site_builds_without_a_warning_and_without_a_network(tmp_path):
    pytest.importorskip("material", reason="mkdocs-material is not installed: the extra 'docs' brings it")
    call = [sys.executable, "-m", "mkdocs", "build", "--strict", "--site-dir", str(tmp_path / "site")]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path), "NO_MKDOCS_2_WARNING": "1"}
    done = subprocess.run(call, cwd=ROOT / "docs/site", env=environment, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    shown = re.findall(r'id="viewstream\.[\w.]*?(\w+)"', (tmp_path / "site/api.html").read_text())
    assert set(shown) >= {name for face in FACES for name in importlib.import_module(f"viewstream.{face}").__all__}
    page = (tmp_path / "site/start.html").read_text()
    assert "Ten minutes" in page
    assert not re.findall(r"(?:src|href)=\"https?://(?!squidfunk|www\.mkdocs)[^\"]*\.(?:js|css|woff2?)\"", page)
