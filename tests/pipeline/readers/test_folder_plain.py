"""A plain folder of images: its manifest, and which folders are refused."""

import numpy as np
import pytest

from viewstream.shards.errors import UserError
from viewstream.shards.plain import plain


def test_a_plain_folder_has_the_manifest_of_a_build_with_keep(zoo, zoo_built):
    made = plain(zoo)
    for column in ("uid", "label", "height", "width", "bytes"):
        assert np.array_equal(getattr(made, column), getattr(zoo_built, column)), column
        assert getattr(made, column).dtype == getattr(zoo_built, column).dtype
    assert made.keys == zoo_built.keys
    assert made.strings("source") == zoo_built.strings("source")
    for field in ("split", "classes", "counts", "samples", "subset", "encoding", "report"):
        assert getattr(made.info, field) == getattr(zoo_built.info, field), field


def test_images_without_class_folders_are_unlabeled(usual):
    made = plain(usual / "train" / "ant")
    assert (made.label == -1).all()
    assert (made.info.classes, made.info.counts, len(made)) == ((), (), 18)
    with pytest.raises(UserError, match="unlabeled"):
        made.require_labels("kNN")


@pytest.mark.parametrize(
    ("where", "cause"),
    [
        ("absent", "does not exist"),
        ("empty", "holds no images"),
        ("s3://bucket/x", "remote"),
        ("a.tar", "webdataset"),
    ],
)
def test_a_source_without_a_folder_of_images_is_refused(tmp_path, where, cause):
    (tmp_path / "empty" / "train" / "ant").mkdir(parents=True)
    with pytest.raises(UserError, match=cause):
        plain(where if "://" in where else tmp_path / where)


def test_a_built_set_is_no_plain_folder(zoo_built):
    with pytest.raises(UserError, match=r"webdataset source, .*build_shards\.py"):
        plain(zoo_built.root)


def test_a_plain_folder_has_no_digests_and_no_shards(usual):
    made = plain(usual)
    with pytest.raises(UserError, match="no sha256"):
        made.strings("sha256")
    with pytest.raises(UserError, match="holds plain, not webdataset"):
        made.require("webdataset")
