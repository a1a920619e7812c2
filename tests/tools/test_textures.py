"""Textures are an image folder, and the same images for the same seed."""

from PIL import Image


def test_textures_are_an_image_folder_and_the_same_twice(program, tmp_path):
    for name in ("a", "b"):
        done = program("tools/textures.py", "--out", tmp_path / name, "--train", 1, "--val", 1)
        assert done.returncode == 0, done.stderr
    files = sorted(p.relative_to(tmp_path / "a") for p in (tmp_path / "a").rglob("*.JPEG"))
    assert len(files) == 2 * 12
    for file in files:
        assert (tmp_path / "a" / file).read_bytes() == (tmp_path / "b" / file).read_bytes()
        with Image.open(tmp_path / "a" / file) as image:
            assert 300 <= max(image.size) <= 500
    again = program("tools/textures.py", "--out", tmp_path / "a")
    assert again.returncode == 2
    assert "already exists" in again.stderr
