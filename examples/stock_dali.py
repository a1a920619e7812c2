"""DALI reads the tars of a set with its webdataset reader, by the .idx beside each tar.

python examples/stock_dali.py data/shards/imagenet-lt6-train
"""

# pyright: reportPrivateImportUsage=false, reportArgumentType=false, reportOptionalIterable=false

import sys

from nvidia.dali import fn, pipeline_def

from viewstream.shards import Manifest


@pipeline_def(batch_size=16, num_threads=2, device_id=None)
def images(tars: list[str]):  # noqa: ANN201  (DALI has no type for it)
    jpeg, label = fn.readers.webdataset(  # pyright: ignore[reportGeneralTypeIssues, reportOptionalIterable]
        paths=tars, index_paths=[tar.removesuffix(".tar") + ".idx" for tar in tars], ext=["jpg", "cls"], name="tars"
    )
    return fn.resize(fn.decoders.image(jpeg, device="cpu"), resize_x=64, resize_y=64), label


def main(where: str) -> None:
    pipe = images([str(path) for path in Manifest.open(where).tars()])
    pipe.build()
    x, labels = pipe.run()
    first = bytes(labels.at(0)).decode()
    print(f"{pipe.epoch_size('tars')} samples, a batch {x.as_tensor().shape()}, the first label {first}")


if __name__ == "__main__":
    main(sys.argv[1])
