"""The webdataset library reads the tars of a set as they are: images, labels and the names of classes.

python examples/stock_webdataset.py data/shards/imagenet-lt6-train
"""

import sys
from collections import Counter

import webdataset

from viewstream.shards import Manifest


def main(where: str) -> None:
    data = Manifest.open(where)  # only for the paths of the tars and the names; the library needs neither
    tars = [str(path) for path in data.tars()]
    samples = webdataset.WebDataset(tars, shardshuffle=False)  # pyright: ignore[reportAttributeAccessIssue]
    pairs = samples.decode("pil").to_tuple("jpg", "cls")
    counts = Counter(data.info.classes[label] for _, label in pairs)
    print(f"{counts.total()} samples: {', '.join(f'{name} {n}' for name, n in counts.most_common(5))}")


if __name__ == "__main__":
    main(sys.argv[1])
