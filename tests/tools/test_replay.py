"""The images and views of a step, from the configuration of its run."""

import json
import shlex

import pytest

SMALL = ("--arch", "test_resnet", "--size", 32, "--batch-size", 32, "--loader", "folder", "--device", "cpu")


@pytest.fixture(scope="module", params=[1, pytest.param(2, marks=pytest.mark.full)])
def failed(program, built, tmp_path_factory, request):
    """A run of some ranks whose loss is soon not finite, its last words, and what it kept of that step."""
    folder = tmp_path_factory.mktemp("runs") / "failed"
    words = ("--method", "supervised", "--lr", 1e30, "--epochs", 4, "--accumulate", 2, "--log-every", 1)
    done = program("trainers/train.py", *SMALL, *words, "--data", built.root, "--out", folder, "--ranks", request.param)
    assert done.returncode == 2, done.stderr
    return folder, done.stderr, json.loads((folder / "failure.json").read_text())


def test_the_command_that_a_failed_run_offers_shows_the_images_of_its_step(failed, in_process, built):
    _, words, kept = failed
    offered = shlex.split(words.partition("`")[2].partition("`")[0])
    assert offered[0] == "python"
    page = json.loads(in_process(*offered[1:], "--json").stdout)
    assert (page["step"], page["epoch"]) == (kept["step"], kept["epoch"])
    assert sorted(row["row"] for row in page["images"]) == sorted(row for rank in kept["ids"] for row in rank)
    assert all(row["key"] == built.key(row["row"]) for row in page["images"])
    assert {row["class"] for row in page["images"]} <= {*built.info.classes}


def test_the_views_are_drawn(failed, in_process, tmp_path):
    folder, _, kept = failed
    more = " --ranks 2" * (len(kept["ids"]) == 2)
    done = in_process("tools/replay.py", folder, "--step", kept["step"], "--images", 3, "--out", tmp_path / "a.png")
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "a.png").read_bytes()[1:4] == b"PNG"
    assert f"step {kept['step']} of {folder}, epoch {kept['epoch']}: 32 images" in done.stdout
    assert done.stdout.splitlines()[-1].endswith(f"--step {kept['step']} --losses --from-start{more}")


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("--step", 100), "has 12 steps: --step 100 is none of them"),
        (("--step", 1, "--data", "/nowhere"), "/nowhere does not exist"),
    ],
)
def test_a_step_or_a_set_that_is_not_there_is_one_line(words, message, failed, in_process):
    done = in_process("tools/replay.py", failed[0], *words)
    assert done.returncode == 2
    assert message in done.stderr
    assert done.stderr.count("\n") == 1


def test_a_configuration_of_another_version_is_refused(failed, in_process, tmp_path):
    config = json.loads((failed[0] / "config.json").read_text())
    config["recipe"]["magic"] = 1
    (tmp_path / "config.json").write_text(json.dumps(config))
    (tmp_path / "log.jsonl").write_text("")
    done = in_process("tools/replay.py", tmp_path, "--step", 1)
    assert done.returncode == 2
    assert "magic" in done.stderr
