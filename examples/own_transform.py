"""A transform of your own, here of torchvision, over a set: (image, label) pairs in torch's DataLoader.

  python examples/own_transform.py data/shards/imagenet-lt6-train

Trains a linear classifier on small images for one epoch and prints its loss.
"""

import sys

import torch
import torch.nn.functional as F
from torch.utils.data import DataLoader
from torchvision.transforms import v2

from viewstream.pipeline import Pictures, open_set

SIZE = 32


def main(where: str) -> None:
    transform = v2.Compose([v2.PILToTensor(), v2.Resize((SIZE, SIZE)), v2.ToDtype(torch.float32, scale=True)])
    dataset = Pictures(open_set(where), transform)
    net = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(3 * SIZE * SIZE, len(dataset.classes)))
    optimizer = torch.optim.SGD(net.parameters(), lr=0.01)
    losses = []
    for images, labels in DataLoader(dataset, batch_size=32, shuffle=True, num_workers=2):
        loss = F.cross_entropy(net(images), labels)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    print(f"{len(losses)} steps, mean loss {sum(losses) / len(losses):.3f}")


if __name__ == "__main__":
    main(sys.argv[1])
