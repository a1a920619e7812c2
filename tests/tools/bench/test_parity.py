"""The table of parity covers renderers, ops and recipes."""

import pytest

from viewstream.shards.errors import UserError
from viewstream.tools.bench.parity import Parity, load


def lines(text: str) -> dict[str, list[str]]:
    """First cell of a row -> the others; the last table wins."""
    rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in text.splitlines() if line[:1] == "|"]
    return {row[0]: row[1:] for row in rows}


@pytest.mark.full
def test_parity_prints_and_writes_one_table_per_renderer(program, pets, tmp_path):
    out = tmp_path / "parity.md"
    options = ("--count", 3, "--sizes", 32, "--only", "crop,solarize,byol", "--no-dali")
    done = program("tools/bench/parity.py", "--pictures", pets, *options, "--out", out)
    assert done.returncode == 0, done.stderr
    text = out.read_text()
    for heading in ("## Host kernel, device renderer", "## Device crop, device renderer"):
        assert heading in done.stdout
        assert heading in text
    rows = lines(text.partition("## Planes")[0])
    assert {"crop bilinear", "crop bicubic", "solarize", "byol view 1", "byol view 2"} <= rows.keys()
    assert rows["solarize"] == ["0.00 / 0.0 / 0.0", "mean 0"]
    assert rows["crop bilinear"][1] == "mean 0.3, max 2"
    assert "moco_v2" not in rows


def test_images_come_from_a_set_or_a_folder_of_jpegs(built, pets, tmp_path):
    description, images = load(Parity(data=str(built.root), count=2))
    assert description == f"2 images of {built.info.name}"
    assert [list(image.shape[:2]) for image in images] == built.hw[[0, -1]].tolist()
    description, images = load(Parity(pictures=pets, count=3))
    assert (description, len(images)) == ("3 images", 3)
    with pytest.raises(UserError, match="holds no JPEGs"):
        load(Parity(pictures=tmp_path))
