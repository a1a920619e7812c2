"""Shards that other programs wrote become a set when they are described."""

import io
import tarfile

import pytest
from PIL import Image

from viewstream.shards.building.build import build
from viewstream.shards.care.index import index
from viewstream.shards.care.verify import STORED, verify
from viewstream.shards.errors import UserError
from viewstream.shards.formats.read import open_beton, open_tar

from ..archives import tar as packed


@pytest.fixture
def theirs(tmp_path, jpeg):
    """A folder of tars from webdataset's own writer, and the JPEGs by key."""
    webdataset = pytest.importorskip("webdataset", reason="webdataset is not installed")
    folder = tmp_path / "theirs"
    folder.mkdir()
    images = {}
    for shard in range(2):
        with webdataset.TarWriter(str(folder / f"some-{shard}.tar")) as tar:
            for n in range(5):
                key = f"sample{shard}{n}"
                images[key] = jpeg(n + 5 * shard, 40 + n, 50)
                tar.write({"__key__": key, "jpg": images[key], "cls": n % 3})
    return folder, images


def test_tars_of_webdatasets_writer_become_a_set(theirs, digests):
    folder, images = theirs
    before = digests(folder)
    made = index(folder, workers=1)
    assert {name: sha for name, sha in digests(folder).items() if name.endswith(".tar")} == before
    reader = open_tar(made)
    assert [reader.read(row) for row in range(10)] == [images[key] for key in made.keys]
    assert made.label.tolist() == [0, 1, 2, 0, 1] * 2
    assert made.info.classes == ("0", "1", "2")
    assert made.hw[3].tolist() == [43, 50]
    assert made.info.formats == ("webdataset",)
    assert made.info.kind == "indexed"
    assert verify(made) == []
    with pytest.raises(UserError, match="describes these files already"):
        index(folder)


def test_an_index_counts_what_it_passes_over_and_strict_refuses_it(tmp_path, jpeg, program):
    members = [
        ("0.jpg", jpeg(0)),
        ("0.cls", b"1"),
        ("0.txt", b"a cat"),
        ("1.jpg", jpeg(1)),
        ("1.cls", b"0"),
        ("notes", b""),
    ]
    (tmp_path / "t.tar").write_bytes(packed(members))
    with pytest.raises(
        UserError, match=r"holds what .* leaves out \(1 members .*0\.txt.*without --strict|leave out --strict"
    ):
        index(tmp_path, workers=1, strict=True)
    done = program("tools/index_shards.py", tmp_path, "--workers", 1)
    assert done.returncode == 0
    assert "passed over  1 members other than image and label (--fields carries them along): 0.txt" in done.stdout
    assert "passed over  1 members whose names give no key: notes" in done.stdout


def test_tars_and_a_beton_of_the_same_images_share_one_id_space(options):
    made = build(options(shard_size="50KB"))
    (made.root / "dataset.json").unlink()
    again = index(made.root, workers=1)
    assert again.keys == made.keys
    tars, beton = open_tar(again), open_beton(again)
    assert all(tars.read(row) == beton.read(row) for row in range(40))
    assert again.info.counts == made.info.counts
    assert again.info.classes == made.info.classes


def test_what_loaders_cannot_decode_is_named_or_left_out(theirs, saved, smooth_pixels):
    folder, _ = theirs
    cmyk = saved(Image.fromarray(smooth_pixels(1)).convert("CMYK"), "JPEG")
    with tarfile.open(folder / "some-2.tar", "w") as tar:
        for name, data in (("odd.jpg", cmyk), ("odd.cls", b"1"), ("cut.jpg", b"\xff\xd8"), ("cut.cls", b"0")):
            info = tarfile.TarInfo(name)
            info.size = len(data)
            tar.addfile(info, io.BytesIO(data))
    with pytest.raises(UserError, match=r"odd.jpg cannot be read by the loaders .*2 such.*--on-error skip"):
        index(folder, workers=1)
    made = index(folder, skip=True, workers=1)
    assert len(made) == 10
    assert {row["source"].rpartition("/")[2] for row in made.info.report["skipped"]} == {"odd.jpg", "cut.jpg"}


@pytest.fixture
def odd_tar(tmp_path, jpeg):
    """A folder with a tar of two sound JPEGs, one without its end and one of 12 bits."""
    cut, twelve = jpeg(3)[:-400], bytearray(jpeg(4))
    at = twelve.find(b"\xff\xc0")
    twelve[at + 1], twelve[at + 4] = 0xC1, 12
    (tmp_path / "t").mkdir()
    members = [("ok1.jpg", jpeg(1)), ("ok2.jpg", jpeg(2)), ("cut.jpg", cut), ("twelve.jpg", bytes(twelve))]
    (tmp_path / "t" / "t-000000.tar").write_bytes(packed(members))
    return tmp_path / "t"


def test_jpegs_whose_headers_or_end_rule_decoding_out_are_refused_or_left_out(odd_tar):
    with pytest.raises(UserError, match=r"cut\.jpg cannot be read .*it has no end marker; 2 such"):
        index(odd_tar, workers=1)
    made = index(odd_tar, skip=True, workers=1)
    assert made.keys == ["ok1", "ok2"]
    causes = {row["source"]: row["cause"] for row in made.info.report["skipped"]}
    assert causes == {"cut.jpg": "it is cut off, it has no end marker", "twelve.jpg": "it has 12 bits per value, not 8"}


def test_verify_does_not_call_images_whole_that_were_stored_so(odd_tar, monkeypatch, program):
    with monkeypatch.context() as before:
        before.setattr("viewstream.shards.care.headers.fault_of", lambda data: "")  # as older versions did
        made = index(odd_tar, workers=1)
    (damage,) = verify(made, workers=1)
    assert damage.remedy == STORED
    assert [made.keys[row] for row in damage.rows] == ["cut", "twelve"]
    done = program("tools/verify_shards.py", odd_tar, "--repair")
    assert done.returncode == 2
    assert "stored so that loaders cannot read them: 2 images, it is cut off" in done.stdout
    assert "no repair mends what was stored so, build a set without these images" in done.stderr
    flipped = bytearray((odd_tar / "t-000000.tar").read_bytes())
    flipped[made.offset[0] + 300] ^= 1
    (odd_tar / "t-000000.tar").write_bytes(flipped)
    done = program("tools/verify_shards.py", odd_tar)
    assert "1 sample differs (ok1)" in done.stdout
    assert "they were made elsewhere, fetch them again" in done.stderr


def test_a_folder_without_shards_is_an_error(tmp_path):
    with pytest.raises(UserError, match=r"holds neither tars nor a \.beton"):
        index(tmp_path)
