"""nvJPEG gets only JPEGs as they are stored, and an image's decoder never depends on the others in its call."""

import importlib
import io
import sys
import warnings
from types import SimpleNamespace

import numpy as np
import pytest
import simplejpeg
import torch
from PIL import Image

from viewstream.pipeline import nvjpeg
from viewstream.shards.errors import UserError

from .zoo import exif, saved

gpu = [pytest.mark.gpu, pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA")]
PACKAGES = ["torchcodec", "torchvision"]


def adapted(package, device):
    """The decoder of a package; its test is left out where the package is not installed."""
    try:
        importlib.import_module("torchcodec.decoders" if package == "torchcodec" else package)
    except (ImportError, OSError, RuntimeError) as error:
        pytest.skip(f"{package} cannot be imported: {error}")
    return getattr(nvjpeg, package)(torch.device(device))


def as_torchcodec_does(jpegs):
    """Images as torchcodec gives them: [3, H, W] over memory of any order, turned as EXIF says."""
    images = [Image.open(io.BytesIO(jpeg.numpy().tobytes())) for jpeg in jpegs]
    assert all(image.mode in ("L", "RGB") for image in images)
    turned = {6: Image.Transpose.ROTATE_270, 5: Image.Transpose.TRANSPOSE}
    turns = [image.getexif().get(0x0112, 1) for image in images]
    images = [
        image.transpose(turned[turn]) if turn in turned else image for image, turn in zip(images, turns, strict=True)
    ]
    return [torch.from_numpy(np.array(image.convert("RGB"))).permute(2, 0, 1) for image in images]


def refusing(wanted):
    """A decoder that fails for every call with one of the JPEGs `wanted`, and how many calls it got."""
    calls = []

    def decode(jpegs):
        calls.append(len(jpegs))
        if any(jpeg.numpy().tobytes() in wanted for jpeg in jpegs):
            raise RuntimeError("nvJPEG status 2")
        return [image + 0 for image in as_torchcodec_does(jpegs)]

    return decode, calls


@pytest.mark.parametrize("orientation", [1, 3, 6, 5])
def test_an_image_is_decoded_as_it_is_stored_whatever_its_exif_says(image, orientation):
    jpeg = saved(image, exif=exif(orientation))
    (found,) = nvjpeg.decoded(as_torchcodec_does, [jpeg])
    assert torch.equal(found.permute(1, 2, 0), torch.from_numpy(simplejpeg.decode_jpeg(jpeg)))


def test_only_the_marker_of_exif_changes_and_nothing_in_the_pixels(image):
    plain = saved(image)
    assert nvjpeg.as_stored(plain).numpy().tobytes() == plain
    inside = plain.replace(b"\xff\xda", b"\xff\xfe\x00\x06\xff\xe1..\xff\xda", 1)  # in a comment
    assert nvjpeg.as_stored(inside).numpy().tobytes() == inside
    turned = saved(image, exif=exif(6))
    assert nvjpeg.as_stored(turned).numpy().tobytes() == turned.replace(b"\xff\xe1", b"\xff\xfe", 1)


def test_one_call_decodes_a_whole_batch(image):
    decode, calls = refusing([])
    assert len(nvjpeg.decoded(decode, [saved(image)] * 5)) == 5
    assert calls == [5]
    assert nvjpeg.decoded(decode, []) == []


def test_an_image_that_nvjpeg_refuses_is_decoded_on_the_host_and_the_others_on_the_gpu(image):
    odd, damaged = saved(image, quality=50), saved(image)[:-900]
    decode, calls = refusing([odd, damaged])
    first, second, third, fourth = nvjpeg.decoded(decode, [saved(image), odd, damaged, saved(image)])
    assert isinstance(first, torch.Tensor)
    assert torch.equal(first, fourth)
    np.testing.assert_array_equal(second, simplejpeg.decode_jpeg(odd))
    assert isinstance(third, ValueError)
    assert calls == [4, 1, 1, 1, 1]


def test_memory_that_ran_out_is_not_taken_for_damage(image):
    def full(jpegs):
        raise RuntimeError("CUDA out of memory. Tried to allocate 20.00 MiB")

    with pytest.raises(RuntimeError, match="out of memory"):
        nvjpeg.decoded(full, [saved(image)])


@pytest.mark.parametrize("package", PACKAGES)
@pytest.mark.parametrize("on", ["cpu", pytest.param("cuda", marks=gpu)])
def test_a_package_decodes_a_batch_to_the_images_of_the_host(package, on, photos):
    decode = adapted(package, on)
    jpegs = [saved(photo, quality=92, subsampling=i % 3) for i, photo in enumerate(photos(9))]
    jpegs += [saved(photos(1)[0].convert("L")), saved(photos(1)[0], progressive=True, exif=exif(6))]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # torchvision points to torchcodec
        images = nvjpeg.decoded(decode, jpegs)
    assert all(isinstance(image, torch.Tensor) and image.device.type == on for image in images)
    for image, jpeg in zip(images, jpegs, strict=True):
        interpolated = torch.from_numpy(simplejpeg.decode_jpeg(jpeg)).int()
        repeated = torch.from_numpy(simplejpeg.decode_jpeg(jpeg, fastupsample=True)).int()
        found = image.permute(1, 2, 0).cpu().int()
        assert found.shape == interpolated.shape
        gap = torch.minimum((found - interpolated).abs(), (found - repeated).abs()).float()
        assert gap.mean() <= (2 if on == "cuda" else 0)
        assert np.percentile(gap.numpy(), 99) <= (8 if on == "cuda" else 0)


@pytest.fixture
def no_torchcodec(monkeypatch):
    monkeypatch.setitem(sys.modules, "torchcodec", None)
    monkeypatch.setitem(sys.modules, "torchcodec.decoders", None)


def test_without_a_gpu_the_other_decoder_is_advised():
    with pytest.raises(UserError, match=r"--decode gpu needs a GPU.*choose --decode cpu$"):
        nvjpeg.open_nvjpeg(torch.device("cpu"))


def test_without_nvjpeg_each_reason_and_the_extra_are_named(no_torchcodec, monkeypatch):
    def no_nvjpeg(*args, **kwargs):
        raise RuntimeError("decode_jpegs_cuda: torchvision not compiled with nvJPEG support\nException raised from ...")

    monkeypatch.setattr("torchvision.io.decode_jpeg", no_nvjpeg)
    reasons = r"finds no nvJPEG \(torchcodec: .*torchcodec.*; torchvision: .* not compiled with nvJPEG support\)"
    with pytest.raises(UserError, match=rf"{reasons}: pip install 'viewstream\[nvjpeg\]'"):
        nvjpeg.open_nvjpeg(torch.device("cuda", 0))


def test_torchcodec_is_asked_before_torchvision(monkeypatch, image):
    asked = []

    def decode_jpeg(jpegs, *, mode, device):
        asked.append((len(jpegs), mode, device))
        return ["image"] * len(jpegs)

    monkeypatch.setitem(sys.modules, "torchcodec", SimpleNamespace())
    monkeypatch.setitem(sys.modules, "torchcodec.decoders", SimpleNamespace(decode_jpeg=decode_jpeg))
    device = torch.device("cuda", 1)
    assert nvjpeg.open_nvjpeg(device)([nvjpeg.as_stored(saved(image))] * 2) == ["image"] * 2
    assert asked == [(1, "RGB", device), (2, "RGB", device)]


@pytest.mark.parametrize(
    "decoders",
    [
        None,
        SimpleNamespace(),
        SimpleNamespace(decode_jpeg=lambda source, *, mode: source),  # for the CPU alone
    ],
    ids=["absent", "no images", "no GPU"],
)
def test_torchvision_decodes_where_torchcodec_is_absent_or_too_old(monkeypatch, image, decoders):
    monkeypatch.setitem(sys.modules, "torchcodec", decoders and SimpleNamespace())
    monkeypatch.setitem(sys.modules, "torchcodec.decoders", decoders)
    asked = []
    monkeypatch.setattr(
        "torchvision.io.decode_jpeg",
        lambda jpegs, mode, device: asked.append((mode.name, device)) or ["image"] * len(jpegs),
    )
    device = torch.device("cuda", 1)
    assert nvjpeg.open_nvjpeg(device)([nvjpeg.as_stored(saved(image))] * 2) == ["image"] * 2
    assert asked == [("RGB", device)] * 2
