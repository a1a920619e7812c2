"""A restart takes the entries that fit, as the original does, and lists the others."""

import pytest
import torch

from viewstream.shards.errors import UserError
from viewstream.trainers.checkpoints.restart import restart
from viewstream.trainers.methods.kcl import KCL
from viewstream.trainers.methods.moco import MoCo
from viewstream.trainers.nets.encoder import encoder

from .layouts import ARCH, mlp, noise, under


@pytest.fixture
def small():
    """MoCo on mobilenetv3_small with a wide head, the SEED student that it starts from, and its checkpoint."""
    student = encoder("mobilenetv3_small", "mlp", 128, seed=1)
    entries = under("module.student.", student.backbone.state_dict(), under("fc.", student.head.state_dict()))
    entries |= {"module.teacher.conv1.weight": torch.rand(3)}
    entries |= {"module.queue": torch.rand(128, 32), "module.queue_ptr": torch.tensor([8])}
    file = {"epoch": 5, "arch": "mobilenetv3_small", "state_dict": entries}
    return MoCo(encoder("mobilenetv3_small", "wide", 128, seed=2), queue=32), student, file


def test_restart_takes_the_entries_that_fit_and_lists_the_others(small, tmp_path):
    """The last bias and the queue of the teacher fit and are taken, as observed in the original."""
    moco, student, file = small
    statistics = {k: v.clone() for k, v in moco.target.named_buffers()}
    torch.save(file, tmp_path / "seed.pth.tar")
    loaded = restart(moco, tmp_path / "seed.pth.tar")
    own, theirs = moco.online.state_dict(), student.state_dict()
    taken = {k for k in own if own[k].shape == theirs[k].shape and torch.equal(own[k], theirs[k])}
    assert own.keys() - taken == {"head.0.weight", "head.0.bias", "head.2.weight"}
    dropped = [entry.split()[0] for entry in loaded.dropped]
    assert dropped == ["fc.0.bias", "fc.0.weight", "fc.2.weight", "teacher.conv1.weight"]
    for slow, fast in zip(moco.target.parameters(), moco.online.parameters(), strict=True):
        assert torch.equal(slow, fast)
    assert all(torch.equal(v, statistics[k]) for k, v in moco.target.named_buffers())
    assert torch.equal(moco.queue.rows, file["state_dict"]["module.queue"].T)
    assert int(moco.queue.head) == 8


def test_restart_with_another_queue_begins_at_its_start(small, tmp_path):
    moco, _, file = small
    rows = moco.queue.rows.clone()
    file["state_dict"]["module.queue"] = torch.rand(128, 64)
    file["state_dict"]["module.queue_ptr"] = torch.tensor([40])
    torch.save(file, tmp_path / "seed.pth.tar")
    loaded = restart(moco, tmp_path / "seed.pth.tar")
    assert torch.equal(moco.queue.rows, rows)
    assert int(moco.queue.head) == 0
    assert {"queue", "queue_ptr"} <= set(loaded.dropped)


def test_restart_needs_the_same_body(small, tmp_path):
    moco, _, file = small
    del file["state_dict"]["module.student.conv.0.weight"]
    torch.save(file, tmp_path / "seed.pth.tar")
    with pytest.raises(UserError, match=r"conv\.0\.weight missing"):
        restart(moco, tmp_path / "seed.pth.tar")


def test_restart_from_moco_keeps_the_key_encoders_statistics(tmp_path, body):
    statistics = noise(body)
    state = under("module.encoder_q.", body, mlp()) | under("module.encoder_k.", statistics, mlp())
    torch.save({"state_dict": state}, tmp_path / "moco.pth.tar")
    moco = MoCo(encoder(ARCH, "mlp", 8), dim=8, queue=16)
    restart(moco, tmp_path / "moco.pth.tar")
    for name, value in moco.target.backbone.state_dict().items():
        expected = statistics if "running" in name else body
        assert torch.equal(value, expected[name]), name


@pytest.mark.parametrize("name", ["label_queue", "label_queue.rows", ""])
def test_labels_stay_with_their_keys(name, body, tmp_path):
    """A MoCo queue has no labels, so its keys are positives of no image; both pointers stay equal."""
    rows, head = {"queue": torch.rand(8, 16)}, {"queue_ptr": torch.tensor([8])}
    if name == "label_queue.rows":
        rows, head = {"queue.rows": torch.rand(16, 8)}, {"queue.head": torch.tensor(8)}
    labels = {name: torch.arange(16)} if name else {}
    torch.save({"state_dict": under("module.encoder_q.", body, mlp()) | rows | head | labels}, tmp_path / "x.pth")
    kcl = KCL(encoder(ARCH, "mlp", 8), batch=4, dim=8, queue=16)
    loaded = restart(kcl, tmp_path / "x.pth")
    assert int(kcl.queue.head) == int(kcl.label_queue.head) == 8
    assert kcl.label_queue.rows.tolist() == (list(range(16)) if name else [-1] * 16)
    assert not loaded.dropped
