"""Views as make_static renders them, before they are written."""

from viewstream.augment.recipes import views_of
from viewstream.pipeline.choose import open_reader
from viewstream.pipeline.options import LoaderOptions
from viewstream.pipeline.static.write import bare, frozen_images, one_thread

SIZE = 48


def frozen(manifest, rows, mode="normal", count=2, renderer="host"):
    reader, render = open_reader("webdataset", manifest), LoaderOptions(renderer=renderer).render(len(rows))
    views = bare(views_of("moco_v2", SIZE), count, mode)
    with one_thread():
        return [*frozen_images(manifest, reader, rows, views, render, mode=mode)]
