"""A damaged checkpoint is refused wherever it is read, and never becomes other weights."""

import os
import shutil

import pytest
import torch
from safetensors.torch import save_file

from viewstream.shards.errors import UserError
from viewstream.tools.convert_checkpoint import Convert, convert
from viewstream.trainers.checkpoints import layouts, restore
from viewstream.trainers.checkpoints.snapshot import tensors
from viewstream.trainers.checkpoints.whole import DIGEST, tensors_digest
from viewstream.trainers.recipes.options import SEED
from viewstream.trainers.tasks.options import Knn
from viewstream.trainers.tasks.run import evaluate
from viewstream.trainers.training.run import Run, pretrain

from ...flipping import flipped, flips
from ..small_runs import COMMON, SMALL


@pytest.fixture
def copied(moco, tmp_path):
    """A copy of the folder of a finished run."""
    return shutil.copytree(moco, tmp_path / "run")


def damage(path):
    """Flip a bit in the middle of a file, which is a weight."""
    data = path.read_bytes()
    path.unlink()  # best.pt may be a second name of it
    path.write_bytes(flipped(data, 4 * len(data)))


def fingerprint(saved):
    """Everything that a checkpoint holds, as text and one digest of its tensors."""
    found = {str(n): x for n, x in enumerate(tensors(saved))}
    return tensors_digest(found), repr({k: v for k, v in saved.items() if k not in ("method", "optimizer")})


def test_a_flipped_bit_of_a_checkpoint_is_refused_or_changes_nothing(copied):
    path, refused = copied / "last.pt", 0
    written = fingerprint(restore.read(path))
    for bit in flips(path, 300):
        try:
            found = fingerprint(restore.read(path))
        except UserError:
            refused += 1
        else:
            assert found == written, f"bit {bit}"
    assert refused > 200  # the others are in the padding before each tensor, or in dates


@pytest.mark.parametrize("reading", ["resume", "auto", "pretrained", "teacher", "evaluate", "convert"])
def test_a_damaged_checkpoint_is_refused_wherever_it_is_read(copied, sets, tmp_path, reading):
    path, options = copied / "last.pt", {"data": sets["data"], "loader": "folder", "device": "cpu"}
    damage(path)
    out = str(tmp_path / "new")
    student = SEED(**COMMON, views="seed", queue=64, dim=16, bn_groups=2, teacher_arch="test_resnet")
    run = {
        "resume": lambda: pretrain(SMALL, Run(**options, out=out, resume=str(path))),
        "auto": lambda: pretrain(SMALL, Run(**options, out=str(copied), resume="auto")),
        "pretrained": lambda: pretrain(SMALL, Run(**options, out=out, pretrained=str(path))),
        "teacher": lambda: pretrain(student, Run(**options, out=out, teacher=str(path))),
        "evaluate": lambda: evaluate(Knn(**sets, checkpoint=str(path), loader="folder", device="cpu")),
        "convert": lambda: convert(Convert(path, tmp_path / "net.pth", to="moco")),
    }[reading]
    with pytest.raises(UserError, match=r"last.pt is damaged \(.*data/\d+ is not as it was written\): "):
        run()


def test_another_checkpoint_of_the_run_that_is_whole_is_named(copied):
    last = copied / "last.pt"
    for n, name in enumerate(("epoch-0001.pt", "best.pt")):
        shutil.copy(last, copied / name)
        os.utime(copied / name, (n, n))
    damage(last)
    with pytest.raises(UserError, match=r"best.pt is whole, name that one; to resume from it, move last.pt away first"):
        restore.read(last)
    damage(copied / "best.pt")
    with pytest.raises(UserError, match=r"epoch-0001.pt is whole"):
        restore.read(last)
    (copied / "epoch-0001.pt").unlink()
    (copied / "epoch-0001.pt").hardlink_to(last)
    with pytest.raises(UserError, match=r"copy or download it again, or name another$"):
        restore.read(last)


def test_a_flipped_bit_of_a_converted_file_is_refused_or_changes_nothing(tmp_path, body):
    torch.save({"state_dict": body, "arch": "test_resnet"}, tmp_path / "net.pth")
    state, path = layouts.read(tmp_path / "net.pth").network(), tmp_path / "net.safetensors"
    save_file(state, path, metadata={DIGEST: tensors_digest(state)})
    for bit in flips(path, 300):
        try:
            found = layouts.read(path).network()
        except UserError:
            continue
        assert tensors_digest(found) == tensors_digest(state), f"bit {bit}"


def test_safetensors_of_others_have_no_digest_and_are_read(tmp_path, body):
    save_file(body, tmp_path / "net.safetensors")
    assert tensors_digest(layouts.read(tmp_path / "net.safetensors").network()) == tensors_digest(body)
