"""Two views of each image in a plain loop of torch: SimSiam's loss, without any of the trainers.

  python examples/plain_torch.py data/shards/imagenet-lt6-train

The views are those of every other loader of this project, for any number of workers.
"""

import sys

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils.data import DataLoader

from viewstream.augment import moco_v2
from viewstream.pipeline import as_dataset, open_set

SIZE, BATCH, EPOCHS = 32, 32, 2


def loss_of(p: Tensor, z: Tensor) -> Tensor:
    return -F.cosine_similarity(p, z.detach()).mean()


def main(where: str) -> None:
    torch.manual_seed(0)
    dataset, steps = as_dataset(open_set(where), moco_v2(SIZE), batch=BATCH)
    net = nn.Sequential(nn.Conv2d(3, 32, 3, 2), nn.ReLU(), nn.AdaptiveAvgPool2d(2), nn.Flatten(), nn.Linear(128, 64))
    predictor = nn.Sequential(nn.Linear(64, 16), nn.ReLU(), nn.Linear(16, 64))
    optimizer = torch.optim.SGD([*net.parameters(), *predictor.parameters()], lr=0.05, momentum=0.9)
    loader = DataLoader(dataset, batch_sampler=steps, num_workers=2)
    for epoch in range(EPOCHS):  # each pass is of the next epoch
        losses = []
        for (a, b), _, _ in loader:
            za, zb = net(a), net(b)
            loss = (loss_of(predictor(za), zb) + loss_of(predictor(zb), za)) / 2
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            losses.append(loss.item())
        print(f"epoch {epoch}: loss {sum(losses) / len(losses):.3f}")


if __name__ == "__main__":
    main(sys.argv[1])
