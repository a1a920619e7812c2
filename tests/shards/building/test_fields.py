"""Members of a tar other than image and label: counted, or carried along with `--fields`."""

import json
import tarfile

import pytest
from PIL import Image
from torch.utils.data import DataLoader

from viewstream.augment.recipes import supervised
from viewstream.pipeline import as_dataset
from viewstream.shards.building.build import BuildOptions, build
from viewstream.shards.care.index import index
from viewstream.shards.care.verify import verify
from viewstream.shards.errors import UserError
from viewstream.shards.formats.read import open_beton, open_folder, open_tar
from viewstream.shards.manifest import Manifest
from viewstream.shards.sources.wanted import Wanted

from ..archives import tar

FIELDS = ("txt", "mask.png", "json")
VERIFY = "tools/verify_shards.py"


def caption(n):
    return f"caption {n} ".encode() * (n * 7)


@pytest.fixture
def source(tmp_path, jpeg, saved, smooth_pixels):
    """A folder of two tars of 30 samples: image, label, caption, mask and .json; every fifth one lacks its caption."""
    folder = tmp_path / "src"
    folder.mkdir()
    for shard in range(2):
        members = []
        for n in range(15 * shard, 15 * shard + 15):
            mask = saved(Image.fromarray(smooth_pixels(n, 8, 9)).convert("L"), "PNG")
            page = json.dumps({"label": n % 3, "url": f"http://{n}"}).encode()
            members += [(f"{n:03d}.jpg", jpeg(n, 20, 24)), (f"{n:03d}.json", page), (f"{n:03d}.mask.png", mask)]
            members += [(f"{n:03d}.TXT", caption(n))] if n % 5 else []
        (folder / f"t-{shard:06d}.tar").write_bytes(tar(members))
    return folder


def found(folder):
    """{member: bytes} of all tars in a folder."""
    members = {}
    for path in sorted(folder.glob("*.tar")):
        with tarfile.open(path) as archive:
            members |= {m.name.lower(): archive.extractfile(m).read() for m in archive}
    return members


def built(source, out, **options):
    return build(BuildOptions(source=source, out=out, workers=1, shard_size="40KB", **options))


def test_members_are_the_same_in_a_set_that_is_built_by_units(source, tmp_path, digests):
    whole = built(source, tmp_path / "whole", fields=FIELDS)
    assert digests(built(source, f"file://{tmp_path}/apart", fields=FIELDS).root) == digests(whole.root)


def test_members_other_than_image_and_label_are_counted_and_strict_refuses_them(source, tmp_path, program):
    done = program("tools/build_shards.py", "--source", source, "--out", tmp_path / "out", "--workers", 1)
    assert done.returncode == 0, done.stderr
    line = (
        "passed over  84 members other than image and label (--fields carries them along): 000.json, 000.mask.png, 001"
    )
    assert line in done.stdout
    report = Manifest.open(tmp_path / "out").info.report["passed_over"]
    assert [row["count"] for row in report] == [84]
    with pytest.raises(UserError, match=r"holds what a build leaves out \(84 members other than image and label"):
        built(source, tmp_path / "strict", strict=True)


def test_fields_are_kept_in_the_tars_and_read_by_row(source, tmp_path):
    made = built(source, tmp_path / "out", fields=FIELDS)
    assert len(made.tars()) > 2
    assert "passed_over" not in made.info.report
    theirs, ours = found(source), found(made.root)
    with open_tar(made) as reader:
        for row, key in enumerate(made.keys):
            assert reader.read(row, "txt") == theirs.get(f"{key}.txt", b"") == ours.get(f"{key}.txt", b"")
            assert reader.read(row, "mask.png") == theirs[f"{key}.mask.png"] == ours[f"{key}.mask.png"]
            assert reader.read(row, "json") == theirs[f"{key}.json"] == ours[f"{key}.source.json"]
            assert json.loads(ours[f"{key}.json"])["label"] == made.label[row] == int(key) % 3
            assert reader.read(row) == ours[f"{key}.jpg"]
        with pytest.raises(UserError, match=r"holds image, label and txt, mask\.png, json: .* with --fields npy"):
            reader.read(0, "npy")
    part = made.take(made.rows[4:2:-1].copy(), made.label[4:2:-1].copy(), made.info.classes)
    with open_tar(part) as reader:
        assert reader.read(1, "mask.png") == theirs[f"{made.keys[3]}.mask.png"]
    assert verify(made, workers=1) == []


def test_fields_change_no_byte_of_other_formats_and_no_set_without_them(source, tmp_path, digests):
    plain = built(source, tmp_path / "plain", format=("webdataset", "ffcv", "folder"))
    fields = built(source, tmp_path / "fields", format=("webdataset", "ffcv", "folder"), fields=("txt",))
    assert plain.beton_path().read_bytes() == fields.beton_path().read_bytes()
    assert digests(plain.root / "folder") == digests(fields.root / "folder")
    for reader in (open_beton(fields), open_folder(fields)):
        with reader, pytest.raises(UserError, match=r"holds image and label only: read \.txt from the tars"):
            reader.read(0, "txt")
    with (
        open_tar(plain) as reader,
        pytest.raises(UserError, match="holds image and label only: build or index it with"),
    ):
        reader.read(0, "txt")
    assert "field_offset" not in (plain.root / "dataset.json").read_text()


@pytest.mark.parametrize("workers", [1, 2])
def test_a_set_with_fields_is_the_same_for_any_number_of_workers(workers, source, tmp_path, digests):
    want = built(source, tmp_path / "want", fields=FIELDS)
    made = build(BuildOptions(source=source, out=tmp_path / "made", workers=workers, shard_size="40KB", fields=FIELDS))
    got = {name: sha for name, sha in digests(made.root).items() if "dataset.json" not in name}
    assert got == {name: sha for name, sha in digests(want.root).items() if "dataset.json" not in name}


def test_repair_takes_fields_from_the_source(source, tmp_path, program, digests):
    made = built(source, tmp_path / "out", fields=FIELDS)
    before = digests(made.root)
    first, size = made.field("mask.png")
    row = int((made.shard == 1).argmax())
    data = bytearray(made.tars()[1].read_bytes())
    data[first[row] + size[row] // 2] ^= 1
    made.tars()[1].write_bytes(data)
    made.tars()[0].with_suffix(".idx").unlink()
    assert [damage.file for damage in verify(made, workers=1)] == [
        made.tars()[1].name,
        made.tars()[0].with_suffix(".idx").name,
    ]
    done = program(VERIFY, made.root, "--repair")
    assert done.returncode == 2
    assert "name its source with --source" in done.stderr
    assert program(VERIFY, made.root, "--repair", "--source", source).returncode == 0
    assert digests(made.root) == before


def test_dalis_index_and_the_wids_list_know_the_fields(source, tmp_path):
    made = built(source, tmp_path / "out", fields=FIELDS)
    for path in made.tars():
        data, lines = path.read_bytes(), path.with_suffix(".idx").read_text().splitlines()
        theirs = found(source)
        for line in lines[1:]:
            words = line.split()
            suffixes = words[::4]
            assert suffixes == ["jpg", "cls", "json", *["txt"] * ("txt" in suffixes), "mask.png", "source.json"]
            for suffix, start, length, name in zip(*(words[n::4] for n in range(4)), strict=True):
                key = name.removesuffix(f".{suffix}")
                if suffix in ("txt", "mask.png"):
                    assert data[int(start) : int(start) + int(length)] == theirs[f"{key}.{suffix}"]
    page = json.loads((made.root / f"{made.info.name}.wids.json").read_text())
    assert sum(line["nsamples"] for line in page["shardlist"]) == len(made) == 30


def test_an_index_finds_the_fields_where_they_lie(source):
    made = index(source, workers=1, wanted=Wanted(fields=("txt", "mask.png")))
    theirs = found(source)
    with open_tar(made) as reader:
        for row, key in enumerate(made.keys):
            assert reader.read(row, "txt") == theirs.get(f"{key}.txt", b"")
            assert reader.read(row, "mask.png") == theirs[f"{key}.mask.png"]
    assert verify(made, workers=1) == []


def test_a_dataset_hands_fields_on_with_each_item(source, tmp_path):
    made, theirs = built(source, tmp_path / "out", fields=("txt",)), found(source)
    dataset, batches = as_dataset(made, supervised(16), batch=10, fields=("txt",))
    for _, target, index_, members in DataLoader(dataset, batch_sampler=batches):
        for row, label, text in zip(index_.tolist(), target.tolist(), members["txt"], strict=True):
            assert text == theirs.get(f"{made.keys[row]}.txt", b"")
            assert label == made.label[row]
    with pytest.raises(UserError, match=r"with --fields mask\.png"):
        as_dataset(made, supervised(16), batch=10, fields=("mask.png",))
    with pytest.raises(UserError, match="--loader ffcv reads image and label only"):
        as_dataset(made, supervised(16), batch=10, loader="ffcv", fields=("txt",))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"fields": ("npy",)}, r"has no member \.npy of a sample: leave it out of --fields"),
        ({"fields": ("txt",), "format": ("ffcv",)}, "--fields go into tars, .*: add webdataset to --format"),
        ({"fields": (".CLS",)}, r"--fields cls: the tars have a \.cls"),
    ],
)
def test_fields_that_cannot_be_carried_are_refused(options, message, source, tmp_path):
    with pytest.raises(UserError, match=message):
        built(source, tmp_path / "out", **options)


def test_fields_do_not_apply_to_folders(tree, tmp_path):
    with pytest.raises(UserError, match="--fields does not apply to a source of kind imagefolder: leave it out"):
        built(tree, tmp_path / "out", fields=("txt",))


def test_a_name_that_does_not_fit_a_tar_is_refused(tmp_path, jpeg):
    key = "k" * 93
    (tmp_path / "t.tar").write_bytes(tar([(f"{key}.jpg", jpeg(0)), (f"{key}.segments", b"x")]))
    with pytest.raises(UserError, match=r"does not fit a tar: names have at most 100 bytes"):
        built(tmp_path / "t.tar", tmp_path / "out", fields=("segments",))
