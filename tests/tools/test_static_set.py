"""StaticSet reads three views of each image, and an error names a missing view."""

import json
import os
import shutil

import numpy as np
import pytest
import torch
from PIL import Image

from viewstream.augment.spec import Normalize
from viewstream.pipeline.static.read import StaticSet
from viewstream.shards.errors import UserError
from viewstream.tools.make_static import Static, make

from .frozen_views import SIZE


def test_every_view_and_mode_is_read_back(built, tmp_path):
    out = make(Static(data=built.root, out=tmp_path / "easy", mode="easy", per_class=2, size=SIZE, workers=1))
    assert json.loads((out / "static.json").read_text())["mode"] == "easy"
    for mode, (first, second) in {"normal": (1, 2), "g-mask": (3, 4), "rand-avg-mask": (9, 10)}.items():
        loader = StaticSet(out, mode, batch=3)
        batches = [*loader.epoch(0)]
        loader.close()
        assert [len(b.index) for b in batches] == [3, 3, 2]
        assert torch.cat([b.target for b in batches]).tolist() == [0, 0, 1, 1, 2, 2, 3, 3]
        x = torch.cat([b.views[2] for b in batches])
        file = loader.items[5].files[2]
        assert file.name.endswith(f"-{second}.jpeg")
        assert loader.items[5].files[1].name.endswith(f"-{first}.jpeg")
        pixels = torch.from_numpy(np.asarray(Image.open(file)).copy()).permute(2, 0, 1) / 255
        op = Normalize()
        expected = (pixels - torch.tensor(op.mean).view(3, 1, 1)) / torch.tensor(op.std).view(3, 1, 1)
        torch.testing.assert_close(x[5], expected, rtol=0, atol=1e-4)


def test_ranks_read_each_image_once(static):
    loaders = [StaticSet(static, batch=4, world_size=2, rank=r) for r in range(2)]
    seen = [i for loader in loaders for b in loader.epoch(0) for i in b.index.tolist()]
    for loader in loaders:
        loader.close()
    assert sorted(seen) == list(range(12))


def test_gray_and_cmyk_images_are_read_as_color(tmp_path, photos):
    (tmp_path / "cat").mkdir()
    original = photos(1)[0]
    for number, mode in enumerate(("CMYK", "L", "RGB")):
        image = original if number == 0 else original.resize((SIZE, SIZE))
        image.convert(mode).save(tmp_path / "cat" / f"a-b-{number}.jpeg", quality=95)
    loader = StaticSet(tmp_path)
    (batch,) = loader.epoch()
    loader.close()
    gray, color = (torch.tensor(Normalize().std).view(3, 1, 1) * x[0] for x in batch.views[1:])
    mean = torch.tensor(Normalize().mean).view(3, 1, 1)
    assert (gray + mean).std(dim=0).max() < 1e-5
    assert (color + mean).std(dim=0).max() > 0.05
    center = torch.tensor(Normalize().std).view(3, 1, 1) * batch.views[0][0] + mean
    assert 0.05 < (center.mean() - (color + mean).mean()).abs() + 0.1 < 0.35  # not a negative


def test_a_pipe_in_place_of_an_image_is_refused(static, tmp_path):
    root = shutil.copytree(static, tmp_path / "static", ignore=shutil.ignore_patterns("*.tar"))
    image = sorted(root.glob("*/*-1.jpeg"))[0]
    image.unlink()
    os.mkfifo(image)
    with pytest.raises(UserError, match=r"-1.jpeg is damaged \(.*is a pipe or a device, not a file"):
        StaticSet(root)


def test_a_missing_view_is_named_with_the_option_that_makes_it(static, tmp_path):
    with pytest.raises(UserError, match=r"-3.jpeg is missing, which mode g-mask needs.*--mode easy"):
        StaticSet(static, "g-mask")
    (tmp_path / "cat").mkdir()
    Image.new("RGB", (8, 8)).save(tmp_path / "cat" / "x-0.jpeg")
    with pytest.raises(UserError, match=r"x-1.jpeg is missing.*--views 2"):
        StaticSet(tmp_path)
    with pytest.raises(UserError, match="did you mean 'g-mask'"):
        StaticSet(static, "gmask")
