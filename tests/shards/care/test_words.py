"""Words for the classes of a set, from the lists that come with ImageNet and with libraries."""

import json

import pytest

from viewstream.shards.care.words import worded
from viewstream.shards.errors import UserError

CLASSES = ("n01440764", "n02012849", "n03126707", "n09")


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("LOC_synset_mapping.txt", "n01440764 tench, Tinca tinca\nn02012849 crane\nn03126707 crane\nn1 goldfish\n"),
        ("words.txt", "n01440764\ttench, Tinca tinca\nn02012849\tcrane\n\nn03126707\tcrane\n"),
        (
            "index.json",
            json.dumps({"0": ["n01440764", "tench"], "1": ["n02012849", "crane"], "2": ["n03126707", "crane"]}),
        ),
        ("map.json", json.dumps({"n01440764": "tench", "n02012849": "crane", "n03126707": "crane"})),
    ],
)
def test_each_form_of_list_names_the_classes_and_two_of_one_word_keep_their_names(tmp_path, name, text):
    (tmp_path / name).write_text(text)
    assert worded(CLASSES, tmp_path / name) == ("tench", "crane (n02012849)", "crane (n03126707)", "n09")


@pytest.mark.parametrize(
    ("name", "text", "reason"),
    [
        ("absent.txt", None, "No such file"),
        ("other.txt", "cat a cat\n", "words for 1 class, none of them in this set"),
        ("list.json", "[1, 2]", "it is no object"),
        ("values.json", '{"0": 3}', "other values than words"),
        ("half.json", '{"0": ', "cannot be read"),
    ],
)
def test_a_list_without_words_for_the_set_is_refused(tmp_path, name, text, reason):
    if text is not None:
        (tmp_path / name).write_text(text)
    with pytest.raises(UserError, match=reason):
        worded(CLASSES, tmp_path / name)
