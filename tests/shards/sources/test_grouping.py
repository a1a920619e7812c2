"""Members of tars become samples: keys with dots, several images, labels that lie apart, members that are left out."""

import json

import pytest

from viewstream.shards.errors import UserError
from viewstream.shards.sources.samples import LABEL_ALONE, MORE, NO_IMAGE, NO_KEY
from viewstream.shards.sources.wanted import Wanted
from viewstream.shards.sources.webdataset import webdataset

from ..archives import tar


def opened(folder, members, **wanted):
    """The source of one tar whose members are `members`: names, or names with their content."""
    pairs = [(m, b"x") if isinstance(m, str) else (m[0], str(m[1]).encode()) for m in members]
    (folder / "t-000000.tar").write_bytes(tar(pairs))
    return webdataset(folder, "train", Wanted(**wanted))


def labels(source):
    """{member: label}"""
    return dict(zip(source.paths, source.label.tolist(), strict=True))


def test_a_second_dot_in_a_key_loses_no_image_and_no_label(tmp_path):
    keys = ["img0", "img1.2", "img2", "img3.2"]
    source = opened(tmp_path, [m for n, key in enumerate(keys) for m in (f"{key}.jpg", (f"{key}.cls", n % 3))])
    assert labels(source) == {"img0.jpg": 0, "img1.2.jpg": 1, "img2.jpg": 2, "img3.2.jpg": 0}
    assert not source.passed


def test_a_single_image_with_a_compound_suffix_is_taken(tmp_path):
    source = opened(tmp_path, [m for n in range(3) for m in (f"{n}.input.jpg", (f"{n}.cls", n))])
    assert labels(source) == {"0.input.jpg": 0, "1.input.jpg": 1, "2.input.jpg": 2}


@pytest.mark.parametrize("apart", [False, True])
def test_images_with_labels_of_their_own_are_samples_also_under_one_first_dot(apart, tmp_path):
    members = [
        "photo.v1.jpg",
        ("photo.v1.cls", 0),
        "photo.v2.jpg",
        ("photo.v2.cls", 1),
        "cat.v1.jpg",
        ("cat.v1.cls", 2),
    ]
    if apart:
        members = members[::2] + members[1::2]
    source = opened(tmp_path, members)
    assert labels(source) == {"photo.v1.jpg": 0, "photo.v2.jpg": 1, "cat.v1.jpg": 2}


def test_unlabeled_images_whose_names_differ_after_a_dot_are_samples_of_their_own(tmp_path):
    names = ["2023.01.05_001.jpg", "2023.01.05_002.jpg", "2024.02.05_003.jpg"]
    assert sorted(opened(tmp_path, names).paths) == names


@pytest.mark.parametrize(
    "label", [[], [("0.cls", 0), ("1.cls", 1)], [("0.json", '{"label": 0}'), ("1.json", '{"label": 1}')]]
)
def test_several_images_of_one_sample_are_named_and_can_be_chosen(label, tmp_path):
    members = ["0.input.jpg", "0.target.jpg", "1.input.jpg", "1.target.jpg", *label]
    message = r"several images of key 0 \(input.jpg and target.jpg\): .* --member input.jpg, or each .* --member jpg"
    with pytest.raises(UserError, match=message):
        opened(tmp_path, members)
    source = opened(tmp_path, members, member="input.jpg")
    assert labels(source) == {"0.input.jpg": 0 if label else -1, "1.input.jpg": 1 if label else -1}
    assert source.passed.counts == {MORE: 2}
    each = opened(tmp_path, members, member=".JPG")
    assert labels(each) == {name: int(name[0]) if label else -1 for name in members[:4]}
    with pytest.raises(UserError, match=r"no member that ends in \.depth\.jpg"):
        opened(tmp_path, members, member="depth.jpg")


def test_an_image_of_another_suffix_beside_the_image_is_a_further_member(tmp_path):
    source = opened(tmp_path, ["0.jpg", "0.mask.png", ("0.cls", 1), "1.mask.png", ("1.cls", 0), "1.jpg"])
    assert labels(source) == {"0.jpg": 1, "1.jpg": 0}
    assert source.passed.names == {MORE: ["0.mask.png", "1.mask.png"]}
    masks_last = opened(tmp_path, ["0.jpg", ("0.cls", 1), "1.jpg", ("1.cls", 0), "0.mask.png", "1.mask.png"])
    assert labels(masks_last) == {"0.jpg": 1, "1.jpg": 0}
    assert masks_last.passed.names == {MORE: ["0.mask.png", "1.mask.png"]}


def test_a_label_need_not_lie_beside_its_image(tmp_path):
    source = opened(tmp_path, [*(f"{n}.jpg" for n in range(4)), *((f"{n}.cls", n % 3) for n in range(4))])
    assert labels(source) == {"0.jpg": 0, "1.jpg": 1, "2.jpg": 2, "3.jpg": 0}
    assert not source.passed


def test_suffixes_in_capitals_are_the_same_suffixes(tmp_path):
    source = opened(tmp_path, [m for n in range(3) for m in (f"{n}.JPG", (f"{n}.CLS", n))])
    assert labels(source) == {"0.JPG": 0, "1.JPG": 1, "2.JPG": 2}


@pytest.mark.parametrize("name", ["label", "cls", "class", "class_id", "target", "category", "Label"])
def test_a_json_holds_the_label_under_any_usual_name(name, tmp_path):
    pages = [json.dumps({name: value, "caption": "a dog"}) for value in ("dog", "cat", "dog")]
    source = opened(tmp_path, [m for n in range(3) for m in (f"{n}.jpg", (f"{n}.json", pages[n]))])
    assert source.classes == ("cat", "dog")
    assert labels(source) == {"0.jpg": 1, "1.jpg": 0, "2.jpg": 1}
    assert source.passed.counts == {MORE: 3}  # the captions


@pytest.mark.parametrize(
    ("values", "classes", "want"),
    [(["3", "1"], 4, [1, 3]), ([1.0, 0], 2, [0, 1]), (["01", "1"], 2, [0, 1]), ([None, None], 0, [-1, -1])],
)
def test_a_label_in_a_json_is_a_number_or_a_name(values, classes, want, tmp_path):
    pages = [json.dumps({"label": value}) for value in values]
    source = opened(tmp_path, [m for n in range(2) for m in (f"{n}.jpg", (f"{n}.json", pages[n]))])
    assert len(source.classes) == classes
    assert source.label.tolist() == want


@pytest.mark.parametrize(
    ("members", "message"),
    [
        (["0.jpg", ("0.json", '{"label": [1, 2]}')], "the label of 0 cannot be read .*--label-column none"),
        (["0.jpg", ("0.json", '{"label": true}')], "the label of 0 cannot be read"),
        (["0.jpg", ("0.json", '{"label": 0.5}')], "the label of 0 cannot be read"),
        (["0.jpg", ("0.json", '{"label": "cat"}'), "1.jpg", ("1.cls", 1)], r"labels that are numbers \(1\) and names"),
        (
            ["0.jpg", ("0.json", '{"scene_class": 3}')],
            "has scene_class, which looks like a label: .*--label-column scene",
        ),
        (["0.jpg", ("0.json", '{"boxes": {"label": 3}}')], r"has boxes\.label, which looks like a label"),
        (["0.jpg", ("0.label.npy", 3)], r"has label\.npy, which looks like a label"),
        (["0.jpg", ("zero.cls", 3)], r"has labels \(zero\.cls\) and images \(0\.jpg\), but no label has the key"),
    ],
)
def test_what_looks_like_a_label_is_never_left_out_in_silence(members, message, tmp_path):
    with pytest.raises(UserError, match=message):
        opened(tmp_path, members)
    source = opened(tmp_path, members, label="none")
    assert (source.classes, set(source.label)) == ((), {-1})
    assert source.passed


def test_a_label_can_be_taken_from_the_member_or_field_that_is_named(tmp_path):
    page = json.dumps({"label": 5, "scene": {"kind": "sea"}})
    members = ["0.jpg", ("0.json", page), ("0.kind", "shore")]
    assert opened(tmp_path, members, label="scene.kind").classes == ("sea",)
    assert opened(tmp_path, members, label="kind").classes == ("shore",)
    with pytest.raises(UserError, match="has no label in color: name another member or field"):
        opened(tmp_path, members, label="color")


def test_captions_are_no_labels(tmp_path):
    page = json.dumps({"caption": "a cat", "url": "x", "key": "0", "width": 3, "sha256": "ab", "exif": "{}"})
    source = opened(tmp_path, ["0.jpg", ("0.txt", "a cat"), ("0.json", page)])
    assert (source.classes, source.label.tolist()) == ((), [-1])
    assert source.passed.names == {MORE: ["0.txt", "0.json"]}


def test_members_that_no_sample_takes_are_counted(tmp_path):
    members = ["README", "._0.jpg", "0.jpg", ("0.cls", 0), "notes.txt", ("9.cls", 4)]
    source = opened(tmp_path, members)
    assert labels(source) == {"0.jpg": 0}
    assert source.passed.names == {NO_KEY: ["README", "._0.jpg"], NO_IMAGE: ["notes.txt"], LABEL_ALONE: ["9.cls"]}
