"""Checkpoints that do not fit are refused with the reasons."""

import io
from pathlib import Path

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from viewstream.shards.errors import UserError
from viewstream.trainers.checkpoints.layouts import KINDS, read, unpacked
from viewstream.trainers.checkpoints.loading import load_backbone
from viewstream.trainers.nets.encoder import backbone

from .layouts import ARCH, under


def test_missing_unknown_and_misshapen_entries_are_listed(body, tmp_path):
    net, _ = backbone(ARCH)
    wrong = body | {"layer9.weight": torch.rand(3), "bn1.weight": torch.rand(3)}
    del wrong["bn1.bias"]
    torch.save({"state_dict": under("module.", wrong)}, tmp_path / "x.pth")
    before = {k: v.clone() for k, v in net.state_dict().items()}
    with pytest.raises(UserError, match=r"3 entries differ \(bn1.weight \(3,\) for .*layer9.weight unknown.*") as e:
        load_backbone(net, tmp_path / "x.pth")
    assert "bn1.bias missing" in str(e.value)
    assert all(torch.equal(v, before[k]) for k, v in net.state_dict().items())


@given(st.sampled_from(sorted(set(KINDS) - {"moco", "swav", "simclr", "supervised", "plain"})))
def test_a_format_that_the_file_does_not_have_is_refused(kind):
    file = {"state_dict": {"module.encoder_q.conv1.weight": torch.ones(1)}}
    with pytest.raises(UserError, match=f"it is no {kind} checkpoint"):
        unpacked(file, kind)


class Trap:
    """Its pickle creates a file if it is executed."""

    def __reduce__(self):
        return (Path.touch, (Path("trapped"),))


REASONS = {
    b"": r"\(it is empty\): copy or download it again",
    b"version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 3\n": "Git LFS pointer.*`git lfs pull`",
    b"\n<!DOCTYPE html><html></html>": "it is a web page",
    b"PK\x03\x04 cut off": r"is damaged \(its list of members is not as it was written\): copy or download it again",
    b"\x1f\x8b gzip": "neither torch.save nor safetensors wrote it",
}


@pytest.mark.parametrize("content", REASONS)
def test_a_file_that_is_no_checkpoint_is_named_as_what_it_is(content, tmp_path):
    path = tmp_path / "x.pth"
    path.write_bytes(content)
    with pytest.raises(UserError, match=REASONS[content]) as caught:
        read(path)
    assert plain(str(caught.value))


@pytest.mark.parametrize("content", [Trap(), {"model": nn.Linear(2, 2)}, {"model": {"x": torch.ones(1)}, "by": Trap}])
def test_a_file_that_needs_code_to_run_is_refused_by_the_name_of_its_class(content, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for new in (True, False):
        torch.save(content, "x.pth", _use_new_zipfile_serialization=new)
        with pytest.raises(UserError, match=r"it holds [\w.]+, and restoring that would run code") as caught:
            read(Path("x.pth"))
        assert plain(str(caught.value))
    assert not Path("trapped").exists()


def plain(message):
    """Whether a message is one line without terminal codes that does not advise to run what the file holds."""
    return message.isprintable() and "weights_only" not in message


def test_averaged_weights_that_a_file_does_not_hold_are_refused(body, tmp_path):
    torch.save({"state_dict": body}, tmp_path / "x.pth")
    with pytest.raises(UserError, match="holds no averaged weights: leave out --ema"):
        read(tmp_path / "x.pth", ema=True)


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"not a checkpoint", "not a readable checkpoint"),
        ({"model": 3}, "holds no weights"),
        ([1, 2], "holds no weights"),
        (Trap(), "not a readable checkpoint"),
    ],
)
def test_files_that_hold_no_weights_are_refused(content, reason, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    path = tmp_path / "x.pth"
    buffer = io.BytesIO()
    if not isinstance(content, bytes):
        torch.save(content, buffer)
    path.write_bytes(content if isinstance(content, bytes) else buffer.getvalue())
    with pytest.raises(UserError, match=reason):
        read(path)
    assert not Path("trapped").exists()
    with pytest.raises(UserError, match="there is no checkpoint nowhere"):
        read(Path("nowhere"))
