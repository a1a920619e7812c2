"""The spy of GPU code sees each kind of waiting, and the counter counts what launches."""

import pytest
import torch

from .fake_gpu import Counted, Crossings

WAITS = {
    "a constant from the host": lambda x: x + x.new_tensor([1.0, 2.0, 3.0, 4.0]),
    "a list copied to the device": lambda x: torch.tensor([1.0, 2.0], device="cuda"),
    "a scalar copied to the device": lambda x: torch.tensor(3.0, device="cuda"),
    "a tensor copied from the host": lambda x: torch.empty(4).to("cuda"),
    "a tensor copied to the host": lambda x: x.cpu(),
    "a blocking copy into a tensor": lambda x: x.copy_(torch.empty(4)),
    "an index on the host": lambda x: x[torch.tensor([0, 1])],
    "a mask that selects": lambda x: x[x > 0],
    "a mask that assigns": lambda x: x.index_put_((x > 0,), x),  # one value for all is a fill, which does not wait
    "a comparison read": lambda x: bool((x > 0).any()),
    "a value read": lambda x: x.sum().item(),
    "positions of what is not zero": lambda x: x.nonzero(),
    "equality read": lambda x: torch.equal(x, x),
    "a singular matrix looked for": lambda x: torch.linalg.solve(x.view(2, 2), x.view(2, 2)),
    "distinct values": lambda x: x.unique(),
}


@pytest.mark.parametrize("wait", WAITS.values(), ids=WAITS)
def test_the_spy_sees(wait, fake_gpu):
    x = torch.empty(4, device="cuda")
    with Crossings() as crossings:
        try:
            wait(x)
        except (RuntimeError, NotImplementedError) as error:  # without memory there is no value
            crossings.seen.append(type(error).__name__)
    assert crossings.seen


def test_the_spy_lets_pass_what_does_not_wait(fake_gpu):
    x = torch.empty(4, device="cuda")
    with Crossings() as crossings:
        y = torch.where(x > 0, x, 2 * x).clamp(min=0.5) + x.new_full((), 3.0)
        y[torch.arange(2, device="cuda")] = 0.0
        y += torch.empty(4).pin_memory().to("cuda", non_blocking=True)
    assert not crossings.seen


def test_the_counter_counts_launches_and_bytes_but_no_views(fake_gpu):
    x = torch.empty(4, 8, device="cuda")
    with Counted() as counted:
        (x.view(8, 4).t() + torch.empty(4, 1, device="cuda").expand(4, 8)).exp_()
    assert counted.launches == {"add": 1, "exp_": 1}
    assert counted.traffic == {"add": 4 * (32 + 4 + 32), "exp_": 4 * (32 + 32)}
