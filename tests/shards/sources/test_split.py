"""Files of a split: words in their names, counts that name how many there are."""

import pytest

from viewstream.shards.errors import UserError
from viewstream.shards.sources.passed import PassedOver
from viewstream.shards.sources.series import absent, skipped
from viewstream.shards.sources.split import archives
from viewstream.shards.sources.storage import storage


def found(folder, names, split="train"):
    """The split's tars among `names`, and what is passed over."""
    for name in names:
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).touch()
    passed = PassedOver()
    return archives(storage(str(folder)), ".tar", split, passed), passed.names


@pytest.mark.parametrize("word", ["train", "training"])
def test_a_class_called_train_among_tars_of_classes_is_no_split(word, tmp_path):
    names = sorted(["cat.tar", "dog.tar", f"{word}.tar"])
    assert found(tmp_path, names) == (names, {})


def test_files_that_name_no_split_are_counted_where_others_do(tmp_path):
    names = ["extra.tar", "pets-train-0.tar", "pets-val-0.tar"]
    left = {".tar files that name no split": ["extra.tar"]}
    assert found(tmp_path, names) == (["pets-train-0.tar"], left)
    assert found(tmp_path, [], "val") == (["pets-val-0.tar"], left)


def test_files_beside_the_folder_of_a_split_are_counted(tmp_path):
    want = ["train/a.tar", "train/b.tar"]
    assert found(tmp_path, [*want, "loose.tar"]) == (want, {".tar files that name no split": ["loose.tar"]})


def test_a_count_in_the_names_that_is_not_complete_is_an_error(tmp_path):
    with pytest.raises(UserError, match=r"2 of 3 files of the split are in .*, x-train-00001-of-00003.tar is missing"):
        found(tmp_path, ["x-train-00000-of-00003.tar", "x-train-00002-of-00003.tar"])


def test_the_files_may_lie_in_one_folder_of_another_name(tmp_path):
    assert found(tmp_path, ["plain/x-train-0.tar", "plain/x-val-0.tar", "docs/a.txt"]) == (["plain/x-train-0.tar"], {})
    assert found(tmp_path, [], "val") == (["plain/x-val-0.tar"], {})
    with pytest.raises(UserError, match=r"holds 2 data sets, each in a folder: name one, .*/fine or .*/plain"):
        found(tmp_path, ["fine/train-0.tar"])


@pytest.mark.parametrize(
    ("paths", "lacking"),
    [
        (["a/x-00000-of-00002.tar"], ["a/x-00001-of-00002.tar"]),
        (["x_2_OF_2.tar"], ["x_1_OF_2.tar"]),
        (["x-0-of-2-ab.tar", "x-1-of-2-cd.tar"], []),
        (["x-1-of-2.tar", "x-2-of-2.tar"], []),
        (["x-0-of-1.tar", "y-0-of-1.tar", "z-000000.tar"], []),
    ],
)
def test_the_files_that_a_count_lacks(paths, lacking):
    assert absent(paths) == lacking


@pytest.mark.parametrize(
    ("numbers", "names"),
    [
        (["000000", "000001", "000004"], ["a-000002.tar", "a-000003.tar"]),
        (["3", "5", "6", "10", "11"], ["a-4.tar"]),
        (["000000", "000001"], []),
        (["01440764", "01443537", "02123045"], []),  # wnids count nothing
    ],
)
def test_names_that_the_numbers_of_files_skip(numbers, names):
    assert skipped([f"a-{number}.tar" for number in numbers]) == names


def test_a_number_that_is_skipped_is_named_in_a_warning(tmp_path, capsys):
    names = ["train-000000.tar", "train-000002.tar"]
    assert found(tmp_path, names) == (names, {})
    assert f"warning: {tmp_path} lacks train-000001.tar, which the numbers of its files skip" in capsys.readouterr().err
