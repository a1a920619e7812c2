"""The datasets library of Hugging Face reads the tars of a set: images, labels and the members of each sample.

python examples/hf_datasets.py data/shards/imagenet-lt6-train
"""

import sys

from datasets import load_dataset

from viewstream.shards import Manifest


def main(where: str) -> None:
    data = Manifest.open(where)
    tars = [str(path) for path in data.tars()]
    rows = load_dataset("webdataset", data_files={"train": tars}, split="train", streaming=True)
    first = next(iter(rows))
    print(f"{first['__key__']}: {first['jpg'].size} px, class {data.info.classes[int(first['cls'])]}")


if __name__ == "__main__":
    main(sys.argv[1])
