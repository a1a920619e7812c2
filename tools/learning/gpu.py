"""CIFAR-10 with ResNet-18 for 200 epochs, on a GPU: figures that others report too."""

from viewstream.tools.learning.cifar import KNN, LINEAR
from viewstream.tools.learning.plan import Built, Experiment, Piece

RUN = {
    "data": Built("cifar10"),
    "arch": "resnet18",
    "stem": "cifar",
    "size": 32,
    "views": "simclr_cifar",
    "epochs": 200,
}
GPU = Experiment(
    "cifar10-gpu",
    "CIFAR-10, ResNet-18 for 32 px, 200 epochs on a GPU (--device cuda --minutes 9)",
    (
        Piece(
            "moco-0",
            {
                **RUN,
                **{"method": "moco", "queue": 4096, "key_momentum": 0.99, "temperature": 0.1},
                **{"batch_size": 512, "lr": 0.06, "weight_decay": 5e-4, "log_every": 50},
            },
            (KNN, LINEAR),
        ),
        Piece(
            "byol-0",
            {
                **RUN,
                **{"method": "byol", "hidden": 1024, "dim": 256, "key_momentum": 0.99, "optimizer": "sgd"},
                **{"batch_size": 512, "lr": 0.12, "weight_decay": 5e-4, "log_every": 50},
            },
            (KNN, LINEAR),
        ),
    ),
)
