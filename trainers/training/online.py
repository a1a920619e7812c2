"""A linear classifier that is trained beside a method, on the features that its steps make anyway."""

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ..methods.method import Method
from ..ranks import gather

RATE = 1e-3  # of AdamW; BatchNorm gives the features of every network one scale


class OnlineProbe:
    """Learns the `classes` of a batch from the backbone's features of its first view, at each step of `method`.

    The features are detached and those of all ranks, so every rank takes the same step. It draws no random numbers and
    touches nothing that the method sees: losses equal those of a run without it, bit for bit. Its loss and accuracy
    join the scalars of the step as `probe` and `probe/top1`. Labels must be 0 to `classes` - 1.
    """

    def __init__(self, method: Method, classes: int):
        self.classes, self._features, self._listens = classes, None, False
        self.head: nn.Sequential | None = None
        self._hooks = (
            method.register_forward_pre_hook(self._begin),
            method.backbone.register_forward_hook(self._keep),
            method.register_forward_hook(self._learn),
        )

    def scores(self, x: Tensor) -> Tensor:
        """Features [N, D] -> scores [N, classes]; zeros before the first step."""
        if self.head is None:
            return x.new_zeros(len(x), self.classes)
        with torch.no_grad():
            return self.head.eval()(x)

    def state_dict(self) -> dict[str, Any]:
        """What a checkpoint holds; empty before the first step."""
        return {"head": self.head.state_dict(), "optimizer": self._optimizer.state_dict()} if self.head else {}

    def load_state_dict(self, state: dict[str, Any], device: torch.device) -> None:
        """Go on from a checkpoint."""
        if state:
            head = self._made(state["head"]["1.weight"].shape[1], device)
            head.load_state_dict(state["head"])
            self._optimizer.load_state_dict(state["optimizer"])

    def close(self) -> None:
        """Leave the method as it was."""
        for hook in self._hooks:
            hook.remove()

    def _begin(self, *_: Any) -> None:
        self._features, self._listens = None, True

    def _keep(self, _: nn.Module, __: Any, output: Tensor) -> None:
        if self._listens:  # the first pass of a step is of the first view, or of all crops of its size
            self._features, self._listens = output.detach(), False

    def _learn(self, _: nn.Module, arguments: tuple[Any, ...], output: Any) -> Any:
        if not arguments or self._features is None:  # not a step: DDP orders its buckets
            return None
        batch, (loss, stats) = arguments[0], output
        crops = len(self._features) // len(batch.target)  # of an image, which follow one another
        x, y = gather(self._features[::crops].float()), gather(batch.target)
        with torch.enable_grad(), torch.autocast(x.device.type, enabled=False):
            head = self.head or self._made(x.shape[1], x.device)
            scores = head.train()(x)
            own = F.cross_entropy(scores, y)
            self._optimizer.zero_grad()
            own.backward()
            self._optimizer.step()
        right = (scores.detach().argmax(dim=1) == y).float().mean()
        return loss, stats | {"probe": own.detach(), "probe/top1": right}

    def _made(self, width: int, device: torch.device) -> nn.Sequential:
        linear = nn.utils.skip_init(nn.Linear, width, self.classes)  # draws no numbers
        for parameter in linear.parameters():
            nn.init.zeros_(parameter)
        self.head = nn.Sequential(nn.BatchNorm1d(width, affine=False), linear).to(device)
        fused = True if device.type == "cuda" else None  # a step of one kernel, without the host
        self._optimizer = torch.optim.AdamW(linear.parameters(), RATE, weight_decay=0.0, fused=fused)
        return self.head
