"""timm creates its loader, with its own augmentation, over a set.

python examples/timm_loader.py data/shards/imagenet-lt6-train
"""

import sys

import timm
import torch
import torch.nn.functional as F
from timm.data.loader import create_loader

from viewstream.pipeline import Pictures, open_set


class Images(Pictures):
    """timm sets the attribute `transform` itself."""


def main(where: str) -> None:
    dataset = Images(open_set(where))
    loader = create_loader(
        dataset,  # pyright: ignore[reportArgumentType]  (any map-style dataset)
        input_size=32,
        batch_size=16,
        is_training=True,
        use_prefetcher=False,
        num_workers=0,
    )
    net = timm.create_model("test_resnet", num_classes=len(dataset.classes))
    optimizer = torch.optim.SGD(net.parameters(), lr=0.01)
    for step, (x, target) in enumerate(loader):
        loss = F.cross_entropy(net(x), target)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        print(f"step {step}: loss {loss.item():.3f}")


if __name__ == "__main__":
    main(sys.argv[1])
