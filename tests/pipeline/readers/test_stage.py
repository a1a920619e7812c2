"""Files of a set are staged: copied once, checked while they are copied, from where a killed copy stopped."""

import fcntl
import json
import shutil
import threading

import pytest

from viewstream.pipeline.readers import stage as stage_module
from viewstream.pipeline.readers import stager
from viewstream.pipeline.readers.cached import verify_cached
from viewstream.pipeline.readers.copying import Tee
from viewstream.pipeline.readers.remote import ORIGIN
from viewstream.pipeline.readers.stage import Stage, staged_set, staging
from viewstream.shards.building.build import BuildOptions, build
from viewstream.shards.errors import UserError
from viewstream.shards.manifest import Manifest

from ...flipping import flipped
from ...pairs import pairs

ROOM = 10**9
STAGE = """
from pathlib import Path
from viewstream.pipeline.readers import stage
from viewstream.shards.manifest import Manifest

copied = []
fill = stage.StagedSet.fill
stage.StagedSet.fill = lambda self, number, *more: (copied.append(number), fill(self, number, *more))

def work(number, process, root, folder):
    copied.clear()
    files = stage.staged_set(Manifest.open(root), "webdataset", stage.Stage(Path(folder) / str(number), 10**9))
    reasons = [*stage.staging(files)]
    return f"{len(copied)} {reasons}"
"""


def whole(files):
    """Which files are in the stage; an error if one is there and is not that of the set."""
    found = []
    for number, (name, line) in enumerate(zip(files.names, files.lines, strict=True)):
        if (files.folder / name).exists():
            assert (files.folder / name).read_bytes() == (files.manifest.root / line["file"]).read_bytes()
            found.append(number)
    return found


def left(files):
    """What else is there."""
    return {path.name for path in files.folder.iterdir()} - {*files.names, ".alone"}


@pytest.fixture
def mine(many, tmp_path):
    """A copy of the set in many tars, which the test may damage."""
    return Manifest.open(shutil.copytree(many.root, tmp_path / "set"))


def test_two_processes_that_stage_one_set_copy_each_file_once(many, tmp_path):
    count = len(many.tars())
    for answers in pairs(STAGE, 3, many.root, tmp_path):
        copies = [int(answer.partition(" ")[0]) for answer in answers]
        assert sum(copies) == count
        assert all(answer.endswith(" []") for answer in answers)


@pytest.mark.parametrize("form", ["webdataset", "ffcv"])
@pytest.mark.parametrize("kind", ["the first half", "all but a byte", "too much", "other bytes"])
def test_a_copy_goes_on_where_a_killed_one_stopped_and_is_made_again_if_a_power_cut_spoiled_it(
    built, tmp_path, monkeypatch, form, kind
):
    files, read = staged_set(built, form, Stage(tmp_path, ROOM)), []
    (line,), (name,) = files.lines, files.names
    data, half = (built.root / line["file"]).read_bytes(), line["bytes"] // 2
    begun = {"the first half": data[:half], "all but a byte": data[:-1], "too much": data + b"x"}
    files.folder.mkdir()
    (files.folder / ".alone").touch()
    (files.folder / f"{name}.partial").write_bytes(begun.get(kind, bytes(9)))
    (files.folder / f"{name}.lock").touch()
    take = Tee._new

    def counted(self, buffer):
        read.append(take(self, buffer))
        return read[-1]

    monkeypatch.setattr(Tee, "_new", counted)
    seen = []
    assert [*staging(files, seen.append)] == []
    assert whole(files) == [0]
    assert not left(files)
    assert sum(seen) == line["bytes"], "progress ends at the size of the file"
    missing = {"the first half": len(data) - half, "all but a byte": 1, "too much": 0}
    assert sum(read) == missing.get(kind, 2 * len(data) - 9)


def test_a_file_that_is_damaged_or_absent_at_the_source_is_not_placed_and_named_once(mine, tmp_path):
    files = staged_set(mine, "webdataset", Stage(tmp_path / "stage", ROOM))
    tars = mine.tars()
    tars[1].write_bytes(flipped(tars[1].read_bytes(), 8 * 5000))
    tars[2].write_bytes(tars[2].read_bytes()[:-700])
    tars[4].unlink()
    first, rest = [*staging(files)]
    assert first == f"{tars[1]} is damaged (its digest differs from that in dataset.json)"
    assert rest == f"such reasons left out 2 more files of {mine.root}"
    assert [*set(range(len(tars))) - set(whole(files))] == [1, 2, 4]
    assert not left(files)


def test_a_longer_file_at_the_source_is_read_no_further_than_its_length(mine, tmp_path):
    files = staged_set(mine, "webdataset", Stage(tmp_path / "stage", ROOM))
    with mine.tars()[0].open("ab") as tar:
        tar.write(bytes(1 << 20))
    assert [*staging(files)] == []
    assert (files.folder / files.names[0]).stat().st_size == files.lines[0]["bytes"]


def test_of_a_set_larger_than_the_limit_the_first_files_that_fit_are_staged(many, tmp_path):
    sizes = [tar.stat().st_size for tar in many.tars()]
    files = staged_set(many, "webdataset", Stage(tmp_path, sum(sizes[:3]) + 1))
    for _ in range(2):
        (reason,) = staging(files)
        assert f"3 of {len(sizes)} files of {many.root} ({sum(sizes):,} bytes) fit into --cache-gb" in reason
        assert whole(files) == [0, 1, 2]


def test_files_of_other_sets_make_room_unless_they_are_in_use(many, built, tmp_path):
    stage = Stage(tmp_path, max(sum(tar.stat().st_size for tar in data.tars()) for data in (many, built)))
    first, second = (staged_set(data, "webdataset", stage) for data in (many, built))
    assert [*staging(first)] == [*staging(second)] == []
    assert whole(second) == [0]
    assert whole(first) != [*range(len(first.names))]
    with (second.folder / second.names[0]).open("rb") as held:
        fcntl.flock(held, fcntl.LOCK_SH)
        reason, *_ = staging(first)
    assert "are in use" in reason
    assert whole(second) == [0]
    assert [*staging(first)] == []
    assert whole(first) == [*range(len(first.names))]


def test_a_set_that_is_built_again_under_its_name_is_staged_beside_the_older_one(pets, tmp_path):
    found = []
    for quality in (90, 60):
        shutil.rmtree(tmp_path / "set", ignore_errors=True)
        options = BuildOptions(source=pets, out=tmp_path / "set", format=("webdataset",), quality=quality, workers=1)
        files = staged_set(build(options), "webdataset", Stage(tmp_path / "stage", ROOM))
        assert [*staging(files)] == []
        assert whole(files) == [0]
        found += files.names
    assert len({*found}) == 2
    assert {path.name for path in files.folder.iterdir()} == {*found, ".alone"}


def test_a_stage_that_cannot_be_used_is_one_line(many, tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(UserError, match=r"file/tars cannot be made \(Not a directory\): name another"):
        next(staging(staged_set(many, "webdataset", Stage(tmp_path / "file", ROOM))))


def test_a_disk_that_refuses_a_write_ends_the_staging_with_one_line_and_leaves_no_part(many, tmp_path, monkeypatch):
    def full(*_):
        raise OSError(28, "No space left on device", str(tmp_path / "x"))

    files = staged_set(many, "webdataset", Stage(tmp_path, ROOM))
    monkeypatch.setattr(stage_module, "copy", full)
    reasons = [*staging(files)]
    assert reasons[0] == f"{tmp_path / 'x'} cannot be written (No space left on device)"
    assert len(reasons) <= 2
    assert not left(files)


def test_staged_files_of_a_local_set_are_verified_with_its_digests(mine, tmp_path):
    files = staged_set(mine, "webdataset", Stage(tmp_path / "stage", ROOM))
    assert [*staging(files)] == []
    (root,) = (path.parent for path in files.stage.folder.glob(f"*/{ORIGIN}"))
    assert verify_cached(root) == ([], len(mine.tars()))
    path = files.folder / files.names[3]
    good = path.read_bytes()
    path.write_bytes(flipped(good, 8 * 5000))
    (line,), _ = verify_cached(root)
    assert line.startswith(f"{path} ({files.lines[3]['file']} of {root.name})")
    assert line.endswith("remove it, the next start brings it again")
    path.unlink()
    assert [*staging(files)] == []
    assert path.read_bytes() == good
    shutil.rmtree(mine.root)
    (line,), _ = verify_cached(root)
    assert str(mine.root) in line


def test_a_note_about_a_source_that_came_with_other_files_is_not_followed(mine, tmp_path):
    files = staged_set(mine, "webdataset", Stage(tmp_path / "stage", ROOM))
    assert [*staging(files)] == []
    (root,) = (path.parent for path in files.stage.folder.glob(f"*/{ORIGIN}"))
    assert json.loads((root / ORIGIN).read_text())["folder"] == str(mine.root)
    copied = shutil.copytree(root, tmp_path / "copied")
    (line,), count = verify_cached(copied)
    assert "was not written by this cache, or was copied" in line
    assert count == 0


def test_only_the_first_rank_of_a_node_has_a_stager(monkeypatch):
    monkeypatch.setenv("LOCAL_RANK", "3")
    monkeypatch.setattr(stager, "Stager", None)
    assert stager.stager() is None


def test_the_stager_says_why_files_are_not_staged_and_goes_on_with_the_next_set(mine, many, tmp_path, capfd):
    mine.tars()[1].unlink()
    todo = stager.SimpleQueue()
    threading.Thread(target=stager._stage_all, args=(todo,), daemon=True).start()
    (tmp_path / "file").touch()
    sets = [(mine, "stage"), (many, "file"), (many, "stage")]
    for manifest, folder in sets:
        todo.put(staged_set(manifest, "webdataset", Stage(tmp_path / folder, ROOM)))
    last = staged_set(many, "webdataset", Stage(tmp_path / "stage", ROOM))
    for _ in range(2000):
        if len(whole(last)) == len(last.names):
            break
        threading.Event().wait(0.01)
    lines = capfd.readouterr().err.splitlines()
    assert len(lines) == 2
    assert lines[0] == (
        f"note: --stage: {mine.tars()[1]} cannot be read (is absent): what is not staged is read from {mine.root}"
    )
    assert "file/tars cannot be made" in lines[1]
