"""Trees of folders as users have them: split folders, class folders, archives beside them, folders in folders."""

import pytest

from viewstream.pipeline.choose import open_reader
from viewstream.shards.errors import UserError
from viewstream.shards.plain import plain
from viewstream.shards.sources.detect import kind_of, open_source
from viewstream.shards.sources.imagefolder import imagefolder

from .folders import JPEG, TREE, lay, passed

ALONE = [f"{name}/{n}.jpg" for name in ("cat", "dog") for n in (1, 2)]
LEFT = (
    "pets.tar",
    "metadata.parquet",
    "test.tsv",
    "train.tsv",
    "data/a.tar",
    "ILSVRC2012_img_val.tar",
    "train/dog.tar",
)


@pytest.mark.parametrize("left", LEFT)
def test_class_folders_win_over_an_archive_or_table_beside_them_and_name_it(left, tmp_path):
    where = lay(tmp_path, *TREE, left)
    for split in ("train", "val"):
        source = open_source(where, split)
        assert (source.paths, source.classes) == ([path.partition("/")[2] for path in TREE[:4]], ("cat", "dog"))
    ((reason, names),) = passed(open_source(where, "train")).items()
    assert names == [left.removeprefix("train/")]
    kind = {"ILSVRC2012_img_val.tar": "ilsvrc"}.get(left) or {"tar": "webdataset", "tsv": "tsv"}.get(
        left[-3:], "parquet"
    )
    assert f"--source-type {kind} takes them" in reason


def test_class_folders_without_splits_win_too_unless_they_only_illustrate_archives(tmp_path):
    assert kind_of(lay(tmp_path / "a", *ALONE, "pets.tar"), "train") == "imagefolder"
    assert kind_of(lay(tmp_path / "b", "assets/1.png", "assets/2.png", "pets-000.tar"), "train") == "webdataset"
    assert kind_of(lay(tmp_path / "c", "assets/1.png", "docs/2.png", "data/train-0.parquet"), "train") == "parquet"
    with pytest.raises(UserError, match=r"holds images in one folder, pets, .*--source .*d/pets"):
        open_source(lay(tmp_path / "d", *(f"pets/{p}" for p in ALONE), "pets.tar"), "train")


@pytest.mark.parametrize("beside", [".git/x/1.jpg", ".cache/1.jpg", "configs/a.json", "assets/1.jpg", "1.jpg"])
def test_archives_without_class_folders_remain_the_source(beside, tmp_path):
    for kind, archive in (("webdataset", "train/a.tar"), ("webdataset", "a.tar"), ("parquet", "data/train-0.parquet")):
        assert kind_of(lay(tmp_path / archive / "set", archive, beside), "train") == kind


def test_images_beside_archives_are_counted(tmp_path):
    source = open_source(lay(tmp_path, "a.tar", "assets/1.jpg", "2.jpg", "docs/a.txt"), "train")
    assert list(passed(source).values()) == [["2.jpg"], ["assets"]]


def test_a_built_set_with_the_folder_format_remains_webdataset(tmp_path):
    lay(tmp_path, *(f"folder/{path}" for path in ALONE), "a.tar", "manifest.parquet", "dataset.json")
    assert kind_of(str(tmp_path), "train") == "webdataset"
    assert kind_of(lay(tmp_path / "hidden", "train/1.jpg", "._a.parquet", "train/._a.tar"), "train") == "flat"
    assert kind_of(lay(tmp_path / "stylegan", *ALONE, "dataset.json", "all.tar"), "train") == "imagefolder"


@pytest.mark.parametrize("name", ["train", "test", "Validation"])
def test_a_class_may_be_called_like_a_split(name, tmp_path, capsys):
    where = lay(tmp_path, *ALONE, f"{name}/1.jpg", f"{name}/2.jpg")
    source = open_source(where, "train")
    assert source.classes == tuple(sorted(("cat", "dog", name)))
    assert len(source) == 6
    assert f"note: {name} in {where} is taken for a class" in capsys.readouterr().err


def test_two_folders_called_like_splits_beside_others_are_ambiguous(tmp_path):
    where = lay(tmp_path / "one", *ALONE, "train/1.jpg", "val/1.jpg")
    for split in ("train", "val"):
        with pytest.raises(UserError, match=r"in train/, val/ and cat/.* may be splits or classes: --source-type"):
            open_source(where, split)
    with pytest.raises(UserError, match=r"in val/ and cat/.* may be splits or classes"):
        open_source(lay(tmp_path / "two", *ALONE, "val/1.jpg"), "val")
    assert open_source(where, "train", kind="imagefolder").classes == ("cat", "dog", "train", "val")
    assert open_source(where, "val", kind="flat").paths == ["1.jpg"]


def test_split_folders_without_class_folders_are_unlabeled(tmp_path):
    where = lay(tmp_path, "train/1.jpg", "test/2.jpg", "labels/a.csv")
    assert [open_source(where, split).paths for split in ("train", "val")] == [["1.jpg"], ["2.jpg"]]
    with pytest.raises(UserError, match=r"train holds no images in class folders: .*--source-type flat"):
        imagefolder(where, "train")


@pytest.mark.parametrize("name", ["validation", "valid", "test", "Val", "TEST"])
def test_the_val_split_has_other_names(name, tmp_path, capsys):
    where = lay(tmp_path, *TREE[:4], f"{name}/cat/1.jpg", f"{name}/dog/1.jpg")
    assert open_source(where, "val").paths == ["cat/1.jpg", "dog/1.jpg"]
    assert (f"/{name} is taken for the val split" in capsys.readouterr().err) == (name != "Val")
    assert len(open_source(where, "train")) == 4


def test_folders_images_and_lists_beside_those_of_the_splits_are_named(tmp_path):
    where = lay(tmp_path / "classes", *TREE, "extra/1.jpg", "more/x/1.jpg", "docs/a.md", "logo.png", "test/1.jpg")
    assert list(passed(open_source(where, "train")).values()) == [["extra", "more"], ["logo.png"]]
    source = open_source(lay(tmp_path / "flat", "train/1.jpg", "val/1.jpg", "train.csv"), "train")
    assert (source.paths, list(passed(source).values())) == (["1.jpg"], [["train.csv"]])


def test_val_without_class_folders_is_unlabeled_with_a_warning(tmp_path, capsys):
    assert open_source(lay(tmp_path, *TREE[:4], "val/1.jpg"), "val").classes == ()
    assert "train has class folders, " in capsys.readouterr().err


def test_folders_without_a_build_are_read_alike(tmp_path, jpeg, capsys):
    images = "train/n1/1.jpg", "train/n2/sub/2", "val/ILSVRC2012_val_00000001.JPEG"
    where = lay(tmp_path, *images, "train/n3/x.txt", data=jpeg(1))
    (tmp_path / "LOC_val_solution.csv").write_text("ImageId,PredictionString\nILSVRC2012_val_00000001,n2 1 2 3 4")
    train, val = plain(where), plain(where, "val")
    assert sorted(train.keys) == ["n1/1", "n2/sub/2"]
    assert [line["names"] for line in train.info.report["passed_over"]] == [["n3/x.txt"], ["n3"]]
    assert "passed over 1 folders without an image: n3" in capsys.readouterr().err
    assert (val.keys, val.label.tolist(), val.info.classes) == (["n2/ILSVRC2012_val_00000001"], [1], ("n1", "n2"))
    assert open_reader("folder", val).read(0) == jpeg(1)


def test_an_empty_split_folder_is_none(tmp_path):
    lay(tmp_path, *TREE[:4], "test/cat/1.jpg")
    (tmp_path / "val").mkdir()
    assert open_source(str(tmp_path), "val").paths == ["cat/1.jpg"]
    (tmp_path / "test" / "cat" / "1.jpg").unlink()
    with pytest.raises(UserError, match=r"/val holds no images: a source is laid out as"):
        open_source(str(tmp_path), "val")


def test_folders_in_class_folders_are_walked(tmp_path):
    where = lay(
        tmp_path, "train/cat/1.jpg", "train/cat/persian/2.jpg", "train/cat/persian/a.b/2.jpg", "train/dog/pug/1.jpg"
    )
    source = open_source(where, "train")
    assert source.paths == ["cat/1.jpg", "cat/persian/2.jpg", "cat/persian/a.b/2.jpg", "dog/pug/1.jpg"]
    assert source.label.tolist() == [0, 0, 0, 1]
    assert source.reader.read(source.places[2]) == JPEG


def test_links_to_folders_are_followed_but_never_in_a_circle(tmp_path):
    where = lay(tmp_path / "pets", "train/cat/1.jpg", "train/dog/1.jpg")
    lay(tmp_path / "more", "a/2.jpg", "b/3.jpg")
    train = tmp_path / "pets" / "train"
    for name, target in {"cat/more": tmp_path / "more", "cat/up": "..", "dog/root": "/", "all": "."}.items():
        (train / name).symlink_to(target)
    (tmp_path / "more" / "a" / "to-b").symlink_to("../b")
    (tmp_path / "more" / "b" / "to-a").symlink_to("../a")
    source = open_source(where, "train")
    assert source.paths == [
        *("cat/1.jpg", "cat/more/a/2.jpg", "cat/more/a/to-b/3.jpg", "cat/more/b/3.jpg", "cat/more/b/to-a/2.jpg"),
        "dog/1.jpg",
    ]
    (count,) = source.passed.counts.values()
    assert count == 5
    (tmp_path / "alone").mkdir()
    (tmp_path / "alone" / "all").symlink_to(".")
    lay(tmp_path / "alone", "1.jpg")
    with pytest.raises(UserError, match="holds no images in class folders"):
        open_source(str(tmp_path / "alone"), "train")


def test_the_images_of_a_single_folder_in_a_folder_are_not_one_class(tmp_path):
    where = lay(tmp_path, *(f"101_ObjectCategories/{path}" for path in ALONE), "Annotations/cat/1.mat")
    with pytest.raises(UserError, match=r"in one folder, 101_ObjectCategories, and there in several folders.*--source"):
        open_source(where, "train")
    assert open_source(f"{where}/101_ObjectCategories", "train").classes == ("cat", "dog")
    with pytest.raises(UserError, match=r"--source .*/hub/data$"):
        open_source(lay(tmp_path / "hub", *(f"data/train/{path}" for path in ALONE)), "train")


def test_a_folder_without_an_image_is_no_class_and_is_named(tmp_path):
    lay(tmp_path, *TREE, "train/__MACOSX/._1.jpg", "train/bat/readme.txt", "train/.git/x.jpg", "train/a.csv")
    (tmp_path / "train" / "ant" / "sub").mkdir(parents=True)
    source = open_source(str(tmp_path), "train")
    assert source.classes == ("cat", "dog")
    assert sorted(set(source.label.tolist())) == [0, 1]
    assert passed(source) == {
        "hidden or system files and folders": [".git", "__MACOSX"],
        "files outside of class folders": ["a.csv"],
        "folders without an image": ["ant", "bat"],
        "files that are no images": ["bat/readme.txt"],
    }
