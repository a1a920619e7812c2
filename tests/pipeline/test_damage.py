"""Damaged samples: the remedy fits the place of the bytes, and replacements are counted once or refused."""

import os
import shutil
from dataclasses import replace

import numpy as np
import pytest

from viewstream.pipeline.choose import open_reader, open_set
from viewstream.pipeline.damage import TRIES, Replacer, damaged
from viewstream.pipeline.plan.order import Plan
from viewstream.shards.errors import UserError
from viewstream.shards.table import TABLE

ROWS = np.array([5, 6, 7])
FAILED = {1: UserError("six is damaged"), 2: UserError("seven is damaged")}


def new_replacer(manifest, skip=True, random_access=True, **plan):
    return Replacer(manifest, Plan(len(manifest), 16, seed=5, **plan), skip, random_access)


def test_the_remedy_fits_the_place_of_the_bytes(built, pets, tmp_path):
    reader = open_reader("folder", built)
    assert f"stored in {built.path(3)}: `python tools/verify_shards.py" in str(damaged(built, reader, 3, "cut short"))
    elsewhere = replace(built, root=tmp_path)
    shutil.copy(built.root / TABLE, tmp_path)  # the names
    assert f"stored in {built.path(3)}: mend it there" in str(damaged(elsewhere, reader, 3, "cut short"))
    plain = open_set(str(pets))
    assert "mend or remove it" in str(damaged(plain, open_reader("folder", plain), 3, "cut short"))


def test_no_repair_is_advised_where_none_can_mend(built, tmp_path):
    reader = open_reader("folder", built)
    whole, cut = built.path(3).read_bytes(), built.path(3).read_bytes()[:-100]
    assert "--repair` mends it" in str(damaged(built, reader, 3, "odd", cut))
    assert "it was so when the set was built, build a set without it" in str(damaged(built, reader, 3, "odd", whole))
    indexed = replace(built, info=replace(built.info, encoding={"indexed": True}))
    assert str(damaged(indexed, reader, 3, "odd", cut)).endswith("fetch the file again")
    assert "it was so when the set was indexed" in str(damaged(indexed, reader, 3, "odd", whole))
    tar = built.tars()[0].name
    os.truncate(shutil.copytree(built.root, tmp_path / "set") / tar, 1000)
    cut_off = replace(indexed, root=tmp_path / "set")
    with (
        open_reader("webdataset", cut_off) as tars,
        pytest.raises(UserError, match="is truncated, fetch the file again"),
    ):
        tars.read(len(built) - 1)


@pytest.mark.parametrize(
    ("options", "tries", "advice"),
    [
        ({"skip": False}, 0, r"; `train.py --on-error skip` .* trains without it$"),
        ({"skip": False, "random_access": False}, 0, r"; `train.py --loader webdataset --on-error skip` .*$"),
        ({"tail": "exact"}, 0, "six is damaged$"),
        ({}, TRIES, f"; {TRIES} samples in turn that were to replace it are damaged too$"),
    ],
    ids=["stop", "stream", "exact", "tries"],
)
def test_an_option_is_advised_only_where_it_is_not_in_use_and_helps(built, options, tries, advice):
    with pytest.raises(UserError, match=advice):
        new_replacer(built, **options).replace(ROWS, FAILED, epoch=0, tries=tries)


def test_only_failed_positions_are_replaced_and_each_is_reported_once(built, capsys):
    replacer = new_replacer(built)
    for _ in range(2):
        rows = replacer.replace(ROWS, FAILED, epoch=3, tries=0)
        assert rows[0] == 5
        assert not set(rows[1:].tolist()) & {6, 7}
        assert ROWS.tolist() == [5, 6, 7]
    assert replacer.skipped == {6: "six is damaged", 7: "seven is damaged"}
    assert capsys.readouterr().err == "skipped: six is damaged\nskipped: seven is damaged\n"


def test_each_try_and_epoch_has_replacements_of_its_own(built):
    found = {tuple(new_replacer(built).replace(ROWS, FAILED, epoch, tries)) for epoch in range(3) for tries in range(3)}
    assert len(found) == 9


@pytest.mark.parametrize(
    ("options", "tries"), [({"skip": False}, 0), ({"tail": "exact"}, 0), ({}, TRIES)], ids=["stop", "exact", "tries"]
)
def test_without_a_replacement_the_first_error_is_raised(built, options, tries):
    replacer = new_replacer(built, **options)
    with pytest.raises(UserError, match="six is damaged"):
        replacer.replace(ROWS, FAILED, epoch=0, tries=tries)
    assert not replacer.skipped
