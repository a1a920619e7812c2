"""Frozen networks with weights ready in the dtype of autocast, which otherwise casts them again at every pass: it keeps
the casts of weights that take gradients, and no others."""

import torch
from torch import Tensor, nn

_LAYERS = (nn.Conv1d, nn.Conv2d, nn.Conv3d, nn.Linear)  # themselves: a subclass may do more than cast its weights


class Shadow:
    """Runs a frozen `net`; within autocast a copy whose convolutions and linear layers hold cast weights.

    The copy computes the same to the last bit. It takes two bytes a weight, shares everything else with `net`, running
    statistics included, follows when weights or mode of `net` change, and is part of no module: no checkpoint holds it.
    """

    def __init__(self, net: nn.Module):
        self.net = net
        self._made: tuple[torch.dtype, torch.device] | None = None
        self._copies: dict[nn.Module, nn.Module] = {}  # of layers with cast weights and of the modules around them
        self._weights: tuple[list[Tensor], list[Tensor]] = [], []  # the own ones, and as they are cast
        self._versions: list[int] = []

    def network(self) -> nn.Module:
        """The network to run now."""
        first = next(self.net.parameters(), None)
        if first is None or not torch.is_autocast_enabled((device := first.device).type):
            return self.net
        if self._made != (made := (torch.get_autocast_dtype(device.type), device)):
            self._make(*made)
        versions = [int(self.net.training), *(weight._version for weight in self._weights[0])]
        if versions != self._versions:
            self._follow()
            self._versions = versions
        return self._copies.get(self.net, self.net)

    def _make(self, dtype: torch.dtype, device: torch.device) -> None:
        self._made, self._copies, self._weights, self._versions = (dtype, device), {}, ([], []), []
        self._copy(self.net, dtype)
        if (own := self._copies.get(self.net)) is not None and self.net._compiled_call_impl is not None:
            own.compile(dynamic=False)

    def _copy(self, module: nn.Module, dtype: torch.dtype) -> nn.Module:
        """`module` with cast weights, or itself if there are none in it."""
        if module in self._copies:
            return self._copies[module]
        if type(module) in _LAYERS and module._parameters.keys() == {"weight", "bias"}:  # not made of other parameters
            new = {"_parameters": {name: self._cast(value, dtype) for name, value in module._parameters.items()}}
        else:
            held = module._modules
            new = {"_modules": {name: child and self._copy(child, dtype) for name, child in held.items()}}
            if all(new["_modules"][name] is child for name, child in held.items()):
                return module
        own = type(module).__new__(type(module))  # copy.copy would ask a module whether it may be saved
        own.__dict__.update(module.__dict__ | new | {"_compiled_call_impl": None})
        self._copies[module] = own
        return own

    def _cast(self, weight: Tensor | None, dtype: torch.dtype) -> nn.Parameter | None:
        if weight is None:
            return None
        cast = nn.Parameter(torch.empty_like(weight, dtype=dtype), requires_grad=False)
        for weights, one in zip(self._weights, (weight, cast), strict=True):
            weights.append(one)
        return cast

    @torch.no_grad()
    def _follow(self) -> None:
        own, cast = self._weights
        torch._foreach_copy_(cast, own)  # pyright: ignore
        for module, copied in self._copies.items():
            copied.training = module.training
