"""ffcv reads the .beton of a set with its own Loader; the fields are called `image` and `label`.

python examples/stock_ffcv.py data/shards/imagenet-lt6-train
"""

import sys

from ffcv.fields.basics import IntDecoder
from ffcv.fields.rgb_image import CenterCropRGBImageDecoder
from ffcv.loader import Loader, OrderOption
from ffcv.transforms import ToTensor

from viewstream.shards import Manifest


def main(where: str) -> None:
    path = str(Manifest.open(where).beton_path())
    image = [CenterCropRGBImageDecoder((64, 64), ratio=224 / 256), ToTensor()]
    pipelines = {"image": image, "label": [IntDecoder(), ToTensor()]}
    loader = Loader(path, batch_size=16, num_workers=1, order=OrderOption.SEQUENTIAL, pipelines=pipelines)
    shapes = [(tuple(images.shape), labels.flatten().tolist()[:3]) for images, labels in loader]
    print(f"{len(shapes)} batches, the first {shapes[0][0]} with labels {shapes[0][1]} ...")


if __name__ == "__main__":
    main(sys.argv[1])
