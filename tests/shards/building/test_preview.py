"""What a build would do, before it does it."""


def test_a_dry_run_says_what_would_be_built_and_writes_nothing(program, pets, tmp_path):
    words = ("--source", pets, "--out", tmp_path / "set", "--shard-size", "100KB", "--per-class", 5, "--dry-run")
    done = program("tools/build_shards.py", *words)
    assert done.returncode == 0, done.stderr
    assert "images  20 of them" in done.stdout
    assert "classes  4, images per class: 5 to 5" in done.stdout
    assert not (tmp_path / "set").exists()


def test_a_dry_run_names_what_would_stop_the_build(program, tmp_path):
    done = program("tools/build_shards.py", "--source", tmp_path / "none", "--dry-run")
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith("error: ")
