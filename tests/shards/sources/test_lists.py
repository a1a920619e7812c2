"""Lists of several authors as sources, and paths that never leave their root."""

import os

import pytest

from viewstream.shards.errors import UserError
from viewstream.shards.sources.detect import open_source
from viewstream.shards.sources.listing import listing
from viewstream.shards.sources.local import Local
from viewstream.shards.sources.remote import Remote


def write(root, paths):
    """Files under `root` whose content is their path."""
    for path in paths:
        (root / path).parent.mkdir(parents=True, exist_ok=True)
        (root / path).write_bytes(path.encode())


def test_an_inaturalist_list_keeps_its_folders_and_numbers(tmp_path):
    paths = ["train_val2018/Plantae/1/a.jpg", "train_val2018/Aves/0/b.jpg", "train_val2018/Aves/0/a.jpg"]
    write(tmp_path / "images", paths)
    (tmp_path / "iNat18.txt").write_text("".join(f"{p} {p.split('/')[2]}\n" for p in paths))
    source = listing(tmp_path / "iNat18.txt", "train", str(tmp_path / "images"))
    assert (source.name, source.classes, source.label.tolist()) == ("iNat18", ("0", "1"), [0, 0, 1])
    assert source.paths == sorted(paths)
    assert [source.reader.read(p).decode() for p in source.places] == sorted(paths)


def test_a_places_list_takes_class_names_from_the_categories(tmp_path):
    paths = ["a/airfield/1.jpg", "a/apartment_building/outdoor/1.jpg", "b/balcony/outdoor/1.jpg"]
    write(tmp_path, paths)
    (tmp_path / "places.txt").write_text("".join(f"/{p} {n}\n" for n, p in enumerate(paths)))
    names = tuple(p.rpartition("/")[0] for p in paths)
    assert open_source(str(tmp_path / "places.txt"), "train").classes == names
    (tmp_path / "categories_places365.txt").write_text("".join(f"/{n} {i}\n" for i, n in enumerate([*names, "z/zoo"])))
    assert open_source(str(tmp_path / "places.txt"), "train").classes == (*names, "z/zoo")
    write(tmp_path, ["Places365_val_00000001.jpg"])
    (tmp_path / "val.txt").write_text("Places365_val_00000001.jpg 3\n")
    source = open_source(str(tmp_path / "val.txt"), "val")
    assert (source.paths, source.label.tolist()) == (["Places365_val_00000001.jpg"], [3])
    (tmp_path / "val.txt").write_text("Places365_val_00000001.jpg 9\n")
    with pytest.raises(UserError, match=r"has a label 9, categories_places365\.txt names 4 classes"):
        open_source(str(tmp_path / "val.txt"), "val")


@pytest.mark.parametrize("folder", ["", "train"])
def test_images_of_a_balfeat_list_are_found_in_the_root_or_its_split(folder, tmp_path):
    write(tmp_path / folder, ["cat/1.JPEG", "dog/1.JPEG"])
    (tmp_path / "l.txt").write_text("train/dog/1.JPEG 1 0.5\ncat/1.JPEG 0\n")
    source = open_source(str(tmp_path / "l.txt"), "train")
    assert (source.classes, source.paths) == (("cat", "dog"), ["cat/1.JPEG", "dog/1.JPEG"])
    assert source.reader.read(source.places[0]) == b"cat/1.JPEG"


@pytest.mark.parametrize("written", ["images", "elsewhere"])
def test_absolute_paths_are_found_where_they_lie(written, tmp_path):
    paths = ["train/cat/1.jpg", "train/cat/my 2.jpg", "train/dog/1.jpg"]
    write(tmp_path / "images", paths)
    (tmp_path / written).mkdir(exist_ok=True)
    listed = tmp_path / written / "l.csv"
    listed.write_text("file,label\n" + "".join(f"{tmp_path}/images/{p},{p[6] == 'd':d}\n" for p in paths))
    for root in (None, str(tmp_path / "images" / "train")):
        source = open_source(str(listed), "train", root=root)
        assert (source.classes, source.paths) == (("cat", "dog"), [path[6:] for path in paths])
        assert [source.reader.read(p).decode() for p in source.places] == paths
    with pytest.raises(UserError, match="say where its images are with --root"):
        open_source(str(listed), "train", root=str(tmp_path / "images" / "train" / "dog"))


@pytest.mark.parametrize("layout", ["ILSVRC/Data/CLS-LOC/val/{}.JPEG", "val/{}.JPEG", "{}.JPEG", "val/{wnid}/{}.JPEG"])
def test_kaggles_table_is_a_list(layout, tmp_path):
    wnids = {"ILSVRC2012_val_00000001": "n02", "ILSVRC2012_val_00000002": "n01", "ILSVRC2012_val_00000003": "n02"}
    write(tmp_path, [layout.format(stem, wnid=wnid) for stem, wnid in wnids.items()])
    table = tmp_path / "LOC_val_solution.csv"
    table.write_text("ImageId,PredictionString\n" + "".join(f"{s},{w} 1 2 3 4 {w} 5 6 7 8\n" for s, w in wnids.items()))
    source = open_source(str(table), "val")
    assert (source.classes, source.label.tolist()) == (("n01", "n02"), [0, 1, 1])
    assert source.paths == sorted(f"{wnid}/{stem}.JPEG" for stem, wnid in wnids.items())
    assert b"ILSVRC2012_val_00000002" in source.reader.read(source.places[0])


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a/1.jpg 0\na/1.jpg 0\n", r"l\.txt line 2"),
        ("a/1.jpg 0\nb/1.jpg\n", r"l\.txt line 2"),
        ("a/1.jpg 0\nb/1.jpg cat\n", r"l\.txt line 2"),
        ("a/1.jpg 0\nb/1.jpg 99999999999\n", r"l\.txt line 2"),
        ("a/1.jpg 0\n../b/1.jpg 1\n", "leads out of"),
        ("a/1.jpg 0\na/1.png 0\n", "share the key a/1"),
        ("\xff\xfe", "is not UTF-8"),
        ("", "is empty"),
        ("z/1.jpg 0\n", r"has no z/1\.jpg, which .*l\.txt names: say where its images are with --root"),
    ],
)
def test_invalid_lists_are_refused(text, message, tmp_path):
    write(tmp_path, ["a/1.jpg", "b/1.jpg"])
    (tmp_path / "l.txt").write_bytes(text.encode("latin-1"))
    with pytest.raises(UserError, match=message):
        open_source(str(tmp_path / "l.txt"), "train")


def test_a_missing_list_is_an_error(tmp_path):
    with pytest.raises(UserError, match=r"l\.txt cannot be read \(No such file"):
        open_source(str(tmp_path / "l.txt"), "train")


@pytest.mark.parametrize("path", ["../secret", "a/../../secret", "/etc/passwd", "a//b", "a/.", "a/.."])
def test_no_path_leads_out_of_its_root(path, tmp_path):
    for store in (Local(tmp_path), Remote("memory://root")):
        for read in (store.read, store.size, store.open, store.exists, store.entries):
            with pytest.raises(UserError, match="leads out of"):
                read(path)


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_a_folder_that_may_not_be_read_is_an_error(tree):
    (tree / "train" / "cat").chmod(0)
    with pytest.raises(UserError, match=r"cat cannot be read \(Permission denied"):
        open_source(str(tree), "train")
    (tree / "train" / "cat").chmod(0o755)
