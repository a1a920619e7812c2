"""The commands of docs/long-tail.md run in their order, on a share of CIFAR-10 and with a small network."""

import re
import shutil
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[3]
COMMANDS = re.findall(r"^python (\S+\.py) (.*)$", (ROOT / "docs/long-tail.md").read_text(), re.MULTILINE)
SMALLER = {
    "tools/build_shards.py": "--fraction 0.05",
    "trainers/train.py": "--arch test_resnet --stem imagenet --epochs 1 --batch-size 32 --queue 128 --bn-groups 2",
    "trainers/evaluate.py": "--batch-size 32",
}


@pytest.mark.full
def test_the_commands_of_the_page_run_in_their_order(program, shared, tmp_path):
    (tmp_path / "CIFAR").mkdir()
    for split in ("train", "test"):
        shutil.copy(shared / f"data/cifar10-{split}.parquet", tmp_path / "CIFAR" / f"{split}-00000.parquet")
    assert len(COMMANDS) == 13
    for script, words in COMMANDS:
        arguments = [*words.split(), *SMALLER.get(script, "").split()]
        if "sl_lt" in arguments:
            at = arguments.index("--queue", 5)
            del arguments[at : at + 2]  # no option of supervised training
        if "linear" in arguments:
            arguments += ["--epochs", "1"]
        if script.startswith("trainers"):
            arguments += ["--loader", "webdataset", "--device", "cpu"]
        named = [
            str(tmp_path / word) if word == "CIFAR" or word.startswith(("data/", "runs/")) else word
            for word in arguments
        ]
        done = program(script, *named)
        assert done.returncode == 0, (script, words, done.stderr)
    assert "shots/few std" in (tmp_path / "runs/kcl/results.json").read_text()
