"""A dataset.json that is not as it was written is refused; pages without a digest are read for ever."""

import json
from contextlib import suppress

import pytest

from viewstream.shards.building.build import build
from viewstream.shards.errors import UserError
from viewstream.shards.info import read_info, write_info
from viewstream.shards.seals import KEY, opened, sealed

from ..flipping import flipped, flips


def test_a_flipped_bit_of_a_dataset_json_is_refused_or_changes_nothing(options):
    made, refused = build(options()), 0
    for bit in flips(made.root / "dataset.json", 500):
        try:
            found = read_info(made.root)
        except UserError:
            refused += 1
        else:
            assert found == made.info, f"bit {bit}"
    assert refused > 300  # the others are in spaces between values


def test_no_flipped_bit_makes_a_page_into_one_without_a_digest(options):
    made = build(options())
    page = made.root / "dataset.json"
    data = page.read_bytes()
    for bit in range(8 * data.index(KEY.encode()), 8 * (data.index(b"sha256:") + 8)):
        page.write_bytes(flipped(data, bit))
        with suppress(UserError):
            assert read_info(made.root) == made.info, f"bit {bit}"


def test_a_page_of_an_earlier_version_has_no_digest_and_is_read(options):
    made = build(options())
    page = made.root / "dataset.json"
    page.write_text(json.dumps(opened(json.loads(page.read_text()))))
    assert KEY not in page.read_text()
    assert read_info(made.root) == made.info
    write_info(made.root, made.info)
    assert KEY in page.read_text()


def test_a_page_that_was_changed_by_hand_says_how_to_keep_the_change(options):
    made = build(options())
    page = made.root / "dataset.json"
    fields = json.loads(page.read_text())
    fields["name"] = "animals"
    page.write_text(json.dumps(fields))
    with pytest.raises(UserError, match="it is not as it was written; if you changed it, take page_digest out of its"):
        read_info(made.root)
    del fields["subset"][KEY]
    page.write_text(json.dumps(fields))
    assert read_info(made.root).name == "animals"


def test_pages_of_other_projects_are_left_as_they_are():
    for page in (None, 3, [], {}, {"subset": "full"}, {"subset": {"name": "x"}}):
        assert opened(page) == page
    assert opened(sealed({"subset": {"name": "x"}})) == {"subset": {"name": "x"}}
