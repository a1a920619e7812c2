"""Which samples the figure of a set shows: all classes of a few, the head, the middle and the tail of many."""

import numpy as np
import pytest
from PIL import Image

from viewstream.shards.building.build import BuildOptions, build
from viewstream.tools import inspect_sheet
from viewstream.tools.inspect_sheet import lines_to_show, parts_of


def test_of_a_thousand_classes_those_of_the_head_the_middle_and_the_tail_are_shown():
    counts = np.arange(1, 1001)  # the last class is the largest
    head, middle, tail = parts_of(counts)
    assert head.tolist() == [*range(999, 991, -1)]
    assert tail.tolist() == [*range(7, -1, -1)]
    assert 490 < middle.mean() < 510


@pytest.mark.parametrize("counts", [[5, 0, 9], [1] * 500, [3, 2]])
def test_few_classes_and_classes_of_one_size_are_shown_as_one_part(counts):
    (part,) = parts_of(np.array(counts))
    assert sorted(part.tolist()) == np.flatnonzero(counts).tolist()


def test_a_long_tail_has_lines_with_headings_and_each_class_has_its_own_images(tmp_path):
    for c in range(30):
        (tmp_path / f"in/train/c{c:02d}").mkdir(parents=True)
        for n in range(1 + 2 * (c == 29)):
            Image.new("RGB", (12, 8), (8 * c, n, 0)).save(tmp_path / f"in/train/c{c:02d}/{n}.JPEG")
    data = build(BuildOptions(source=tmp_path / "in", out=tmp_path / "set", format=("folder",), workers=1))
    lines = lines_to_show(data)
    assert [name for name, _ in lines] == ["largest classes", "", "middle classes", "smallest classes"]
    assert data.label[lines[0][1]].tolist()[:3] == [29, 29, 29]
    assert set(data.label[lines[3][1]]) == {*range(21, 29)}


def test_a_formula_in_the_name_of_a_class_is_text():
    assert inspect_sheet.short("$x^{$") == r"\$x^{\$"
