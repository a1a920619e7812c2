"""What earlier versions wrote is read for ever: sets, static sets, checkpoints and runs, made by make.py."""

import hashlib
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch

from viewstream.pipeline.choose import READERS, open_reader
from viewstream.pipeline.static.read import StaticSet
from viewstream.shards.care.repair import repair
from viewstream.shards.care.verify import verify
from viewstream.shards.manifest import Manifest
from viewstream.trainers.recipes.options import SEED, MoCo, Supervised
from viewstream.trainers.tasks.options import Knn, Shots
from viewstream.trainers.tasks.run import evaluate
from viewstream.trainers.training.run import Run, pretrain

from ..trainers.small_runs import losses
from .arch import ARCH

V1 = Path(__file__).parent / "v1"  # by commit 83a44b9
JPEGS = "a662aa785b270e712f8837f6273ef3f03c6170b69b2291e2c6a9b1ec100bad7e"  # of keys and images of the set
NET = {"arch": ARCH, "size": 32, "batch_size": 6, "epochs": 2, "lr": 0.03, "bn_groups": 2}
RUNS = {
    "moco": MoCo(**NET, queue=12, dim=8, key_momentum=0.9),
    "supervised": Supervised(**NET, views="supervised", balanced=True),
}
NOTES = {
    "moco": ["of its --data", "running statistics of BatchNorm", "crops on the host"],
    "supervised": ["of its --data", "epochs left out", "running statistics of BatchNorm", "crops on the host"],
}


@pytest.fixture
def options(tmp_path):
    """Options of loading that write nothing into the kept files."""
    return {"data": str(V1 / "set"), "loader": "webdataset", "device": "cpu", "cache": tmp_path / "cache"}


@pytest.mark.parametrize("name", ["set", "val"])
def test_a_set_of_version_1_is_whole_and_every_reader_reads_the_same(name):
    manifest = Manifest.open(V1 / name)
    assert not verify(manifest, 1)
    assert manifest.info.version == 1
    assert manifest.info.classes == ("ant", "bee", "cow")
    tars = open_reader("webdataset", manifest)
    jpegs = [tars.read(row) for row in range(len(manifest))]
    assert [hashlib.sha256(jpeg).digest() for jpeg in jpegs] == [row.tobytes() for row in manifest.sha256]
    for form in set(READERS) - {"webdataset", "webdataset-stream"}:
        if name == "val" and form == "folder":
            continue
        reader = open_reader(form, manifest)
        read = [reader.read(row) for row in range(len(manifest))]
        assert [jpeg for jpeg in read if not isinstance(jpeg, np.ndarray)]
        assert all(isinstance(a, np.ndarray) or a == b for a, b in zip(read, jpegs, strict=True))
        reader.close()
    tars.close()


def test_the_images_of_the_set_of_version_1_are_the_ones_that_were_kept():
    manifest = Manifest.open(V1 / "set")
    found = [key.encode() + sha.tobytes() for key, sha in zip(manifest.keys, manifest.sha256, strict=True)]
    assert hashlib.sha256(b"".join(found)).hexdigest() == JPEGS


def test_a_set_of_version_1_can_be_repaired(tmp_path):
    shutil.copytree(V1 / "set", tmp_path / "set")
    manifest = Manifest.open(tmp_path / "set")
    tar = manifest.tars()[0]
    tar.write_bytes(tar.read_bytes()[:-1])
    damages = verify(manifest, 1)
    assert {damage.file for damage in damages} == {tar.name}
    repair(manifest, damages, lambda: pytest.fail("the set has another copy"))
    assert tar.read_bytes() == (V1 / "set" / tar.name).read_bytes()


def test_a_static_set_of_version_1_is_read():
    loader = StaticSet(V1 / "static", "avg-mask", batch=3)
    (batch,) = loader.epoch(0)
    loader.close()
    assert batch.target.tolist() == [0, 1, 2]
    assert [view.shape for view in batch.views] == [(3, 3, 24, 24)] * 3


@pytest.mark.parametrize("name", RUNS)
def test_a_checkpoint_of_version_1_is_evaluated(name, options, tmp_path):
    shutil.copytree(V1 / name, tmp_path / name)
    checkpoint = str(tmp_path / name / "last.pt")
    found = evaluate(Knn(**options, val=str(V1 / "val"), checkpoint=checkpoint, k=5, max_k=3))
    assert found["knn/top1 k=5 T=0.07"] > 0.8  # classes have hues
    if name == "supervised":
        assert evaluate(Shots(**options, val=str(V1 / "val"), checkpoint=checkpoint))


def test_a_checkpoint_of_version_1_teaches(options, tmp_path):
    recipe = SEED(**NET | {"epochs": 1, "bn_groups": 1}, views="seed", queue=12, dim=8, teacher_arch=ARCH)
    run = Run(**options, out=str(tmp_path / "seed"), teacher=str(V1 / "moco" / "last.pt"), log_every=1)
    assert len(losses(pretrain(recipe, run))) == 3


@pytest.mark.parametrize("name", RUNS)
def test_a_run_of_version_1_goes_on_and_names_each_rule_that_changed(name, options, tmp_path, capsys):
    out = tmp_path / name
    shutil.copytree(V1 / name, out)
    pretrain(RUNS[name], Run(**options, out=str(out), resume="auto", log_every=1))
    said = capsys.readouterr().out
    notes = [line for line in said.splitlines() if line.startswith("note: ")]
    for part in NOTES[name]:
        assert [note for note in notes if part in note], (part, said)
    saved = torch.load(out / "last.pt", weights_only=True)
    assert saved["step"] == 6
    assert saved["versions"]["order"] == 1  # the ids of its epochs are those that it began with
    assert set(losses(out)) == set(range(1, 7))
