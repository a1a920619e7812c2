"""Lists that are tables: CSV, tabs, lines of JSON; labels that are names; tables that lie beside images."""

import json

import pytest

from viewstream.shards.errors import UserError
from viewstream.shards.sources.detect import open_source
from viewstream.shards.sources.wanted import Wanted

NAMES = {"a.jpg": "tabby cat", "b.jpg": "dog", "my c.jpg": "tabby cat"}


@pytest.fixture
def images(tmp_path):
    """A folder of the images of NAMES, whose content is their name."""
    (tmp_path / "images").mkdir()
    for name in NAMES:
        (tmp_path / "images" / name).write_bytes(name.encode())
    return tmp_path / "images"


def labels(source):
    """The class of each image."""
    return {path: source.classes[n] for path, n in zip(source.paths, source.label.tolist(), strict=True)}


@pytest.mark.parametrize("header", ["file_name{0}label", "idx{0}image{0}width{0}class", "Label{0}Path", ""])
@pytest.mark.parametrize("separator", [",", "\t", ";"])
def test_a_table_of_paths_and_class_names_is_a_list(header, separator, images):
    columns = header.format(separator).split(separator) if header else ["path", "label"]
    values = [
        {"file_name": f, "image": f, "Path": f, "path": f, "label": n, "class": n, "Label": n} for f, n in NAMES.items()
    ]
    lines = [separator.join(row.get(column, "7") for column in columns) for row in values]
    table = images.parent / "train.csv"
    table.write_text("\ufeff" + "\r\n".join([header.format(separator)] * bool(header) + lines))
    source = open_source(str(table), "train", root=str(images))
    assert (source.classes, labels(source)) == (("dog", "tabby cat"), NAMES)
    assert source.reader.read(source.places[0]) == source.paths[0].encode()
    passed = {"idx", "width"} & {*columns}
    assert {name for line in source.passed.report() for name in line["names"]} == passed


@pytest.mark.parametrize("separator", [",", "\t", ";"])
@pytest.mark.parametrize("header", ["file{0}label\n", ""])
def test_a_class_name_that_begins_with_a_number_is_no_number(header, separator, images):
    rows = [("a.jpg", "101 dalmatians"), ("b.jpg", "3 wolves")]
    (images / "l.csv").write_text(header.format(separator) + "".join(f"{separator.join(row)}\n" for row in rows))
    assert labels(open_source(str(images / "l.csv"), "train")) == dict(rows)


def test_lines_of_json_are_a_list_and_their_numbers_labels(images):
    table = images.parent / "l.jsonl"
    table.write_text("".join(json.dumps({"file_name": f, "label": n}) + "\n" for n, f in enumerate(NAMES)))
    source = open_source(str(table), "train")  # its images are found in images/ beside it
    assert (source.name, source.classes) == ("l", ("0", "1", "2"))
    assert dict(zip(source.paths, source.label.tolist(), strict=True)) == {f: n for n, f in enumerate(NAMES)}


def test_paths_of_a_table_may_be_absolute(images):
    table = images.parent / "l.csv"
    table.write_text("id,filepath,label\n" + "".join(f"1,{images}/{f},{n}\n" for f, n in NAMES.items()))
    source = open_source(str(table), "train")
    assert labels(source) == {f"images/{f}": n for f, n in NAMES.items()}


@pytest.mark.parametrize("name", ["metadata.csv", "metadata.jsonl"])
def test_metadata_beside_images_says_their_labels(name, images, capsys, printing):
    folder = images.rename(images.with_name("train"))
    rows = [{"file_name": f, "label": n} for f, n in NAMES.items() if f != "b.jpg"]
    table = "file_name,label\n" + "".join(f"{row['file_name']},{row['label']}\n" for row in rows)
    (folder / name).write_text(table if name.endswith("csv") else "".join(json.dumps(row) + "\n" for row in rows))
    source = open_source(str(folder.parent), "train")
    assert labels(source) == {f: n for f, n in NAMES.items() if f != "b.jpg"}
    assert {"reason": f"images without a line in {name}", "count": 1, "names": ["b.jpg"]} in source.passed.report()
    assert f"note: the labels of {folder} are those of {name}" in capsys.readouterr().err
    assert not open_source(str(folder.parent), "train", wanted=Wanted(label="none")).classes
    (folder / name).write_text("file_name,text\na.jpg,a cat\n" if name.endswith("csv") else '{"file_name": "a.jpg"}\n')
    assert len(open_source(str(folder.parent), "train")) == len(NAMES)  # captions are no labels: all images, unlabeled


def test_validation_images_of_tiny_imagenet_have_the_classes_of_train(tmp_path):
    for path in ("train/n01/images/x.JPEG", "train/n02/images/y.JPEG", "val/images/v0.JPEG", "val/images/v1.JPEG"):
        (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / path).write_bytes(path.encode())
    (tmp_path / "val/val_annotations.txt").write_text("v0.JPEG\tn02\t0\t0\t9\t9\nv1.JPEG\tn02\t0\t0\t9\t9\n")
    source = open_source(str(tmp_path), "val")
    assert (source.classes, source.label.tolist()) == (("n01", "n02"), [1, 1])
    assert (source.name, source.paths) == (tmp_path.name, ["v0.JPEG", "v1.JPEG"])
    assert source.reader.read(source.places[1]) == b"val/images/v1.JPEG"


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("l.csv", "file,label\na.jpg,cat\na.jpg,dog\n", r"line 3 names a\.jpg again, as line 2 does"),
        ("l.csv", "file,label\na.jpg,cat\n,dog\n", "line 3 has no path in column file"),
        ("l.csv", "file,label\na.jpg,cat\nb.jpg\n", "1 of 2 images in .* have no label"),
        ("l.csv", "file,label\na.jpg,cat\n../b.jpg,dog\n", "leads out of"),
        ("l.csv", "file,class_name,super_class\na.jpg,cat,pet\n", r"look like labels \(class_name, super_class\)"),
        ("l.csv", "name of it,label\na.jpg,cat\n", "not `path label`"),
        ("l.csv", 'file,label\na.jpg,"cat\n', r"line 2 is damaged \(unexpected end of data\)"),
        ("l.csv", "file,label\na.jpg,caf\udce9\n", r"line 2 is not UTF-8"),
        ("l.jsonl", '{"file_name": "a.jpg", "label": [1]}\n', "line 1: .* is neither a whole number nor the name"),
        ("l.jsonl", '{"file_name": "a.jpg", "label": 1.5}\n', "line 1: .* is neither a whole number nor the name"),
        ("l.jsonl", '{"file_name": "a.jpg"\n', "line 1 is damaged"),
        ("l.jsonl", '{"file_name": "a.jpg"}\n[1]\n', "line 2 is no object"),
        ("l.jsonl", '{"url": "a.jpg"}\n', r"has no column of paths \(url\)"),
    ],
)
def test_tables_that_are_damaged_or_unclear_are_refused(name, text, message, images):
    (images / name).write_bytes(text.encode(errors="surrogateescape"))
    with pytest.raises(UserError, match=message):
        open_source(str(images / name), "train")


def test_a_column_that_is_named_is_taken_for_the_labels(images):
    table = images / "l.csv"
    table.write_text("file,class_name,super_class\na.jpg,cat,pet\nb.jpg,dog,pet\n")
    assert open_source(str(table), "train", wanted=Wanted(label="super_class")).classes == ("pet",)
    assert open_source(str(table), "train", wanted=Wanted(label="none")).classes == ()
    with pytest.raises(UserError, match="unknown column of labels 'kind'"):
        open_source(str(table), "train", wanted=Wanted(label="kind"))
    table.write_text("a.jpg 0\n")
    with pytest.raises(UserError, match="is no table with a header, as --label-column kind asks for"):
        open_source(str(table), "train", wanted=Wanted(label="kind"))
