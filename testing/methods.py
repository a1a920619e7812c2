"""The laws of a method: weights from the seed, gradients where they belong, a resume that repeats the run."""

import copy
from typing import Any

import torch
from torch import Tensor, nn

from ..augment.recipes import views_of
from ..augment.spec import Views, size_of
from ..pipeline.batch import Batch
from ..trainers.methods.build import build
from ..trainers.methods.method import Method, Now
from ..trainers.nets.dropout import begin_step
from ..trainers.recipes.options import Recipe
from ..trainers.training.optim import optimizer_of
from .laws import require

STEPS, HALF, TOTAL = 4, 2, 10


def check_method(recipe: Recipe, *, views: Views | None = None, classes: int = 4) -> None:
    """BrokenLaw unless the method of `recipe` keeps its laws, on noise and the CPU.

    `views` default to those that the recipe names. Take a small recipe: a dozen steps of its batch size run.
    """
    views = views or views_of(recipe.views, recipe.size)
    batches = [_batch(recipe, views, classes, step) for step in range(STEPS)]
    method = _new(recipe, classes)
    same = _equal(method.state_dict(), _new(recipe, classes).state_dict())
    require(same, method, "weights are a function of the recipe's seed")
    _check_step(method, recipe, batches[0])
    _check_gradients(recipe, classes, batches[0])
    _check_resume(recipe, classes, batches)
    _check_backbone(method, batches[0])


def _new(recipe: Recipe, classes: int) -> Method:
    return build(recipe, classes).train()


def _batch(recipe: Recipe, views: Views, classes: int, step: int) -> Batch:
    n, made = recipe.batch_size, torch.Generator().manual_seed(step)
    images = tuple(torch.randn(n, 3, size_of(view), size_of(view), generator=made) for view in views)
    target = torch.randint(0, classes, (n,), generator=made)
    return Batch(images, target, torch.arange(n))


def _check_step(method: Method, recipe: Recipe, batch: Batch) -> None:
    """The form of what a step returns."""
    now = Now(0, TOTAL, recipe.seed)
    method.before_step(now)
    loss, stats = method(batch, now)
    scalar = isinstance(loss, Tensor) and loss.shape == () and loss.requires_grad
    require(scalar, method, "the loss is a scalar with a gradient")
    require(bool(loss.isfinite()), method, "the loss is finite", str(loss))
    wrong = [name for name, value in stats.items() if not isinstance(value, Tensor) or value.numel() != 1]
    require(not wrong, method, "stats are scalar tensors", ", ".join(wrong))
    grown = [name for name, value in stats.items() if value.requires_grad]
    require(not grown, method, "stats carry no gradient", ", ".join(grown))
    loss.backward()
    method.after_step(now)


def _check_gradients(recipe: Recipe, classes: int, batch: Batch) -> None:
    """Every trained parameter gets a gradient, and no other one does."""
    method, now = _new(recipe, classes), Now(0, TOTAL, recipe.seed)
    method.before_step(now)
    method(batch, now)[0].backward()
    trained = {name: p for name, p in method.named_parameters() if p.requires_grad}
    require(bool(trained), method, "a method has something to train")
    idle = [name for name, p in trained.items() if p.grad is None]
    require(not idle, method, "every parameter that requires a gradient gets one", ", ".join(idle[:4]))


def _check_resume(recipe: Recipe, classes: int, batches: list[Batch]) -> None:
    """A run that stops half way and goes on in a new process, from its state dict alone, repeats the losses."""
    method = _new(recipe, classes)
    optimizer = optimizer_of(method, recipe)
    first = _steps(method, optimizer, recipe, batches[:HALF], 0)
    state = copy.deepcopy({"method": method.state_dict(), "optimizer": optimizer.state_dict()})
    whole = first + _steps(method, optimizer, recipe, batches[HALF:], HALF)
    again = _new(recipe, classes)
    again.load_state_dict(state["method"])
    optimizer = optimizer_of(again, recipe)
    optimizer.load_state_dict(state["optimizer"])
    found = _steps(again, optimizer, recipe, batches[HALF:], HALF)
    seen = f"losses {whole[HALF:]} without, {found} with a stop"
    require(found == whole[HALF:], method, "a resume from the state dict repeats the losses bit for bit", seen)


def _steps(
    method: Method, optimizer: torch.optim.Optimizer, recipe: Recipe, batches: list[Batch], begin: int
) -> list[float]:
    losses: list[float] = []
    for step, batch in enumerate(batches, begin):
        now = Now(step, TOTAL, recipe.seed)
        torch.manual_seed(step)  # as the training loop does
        begin_step(method, now.seed, step)
        method.before_step(now)
        optimizer.zero_grad(set_to_none=True)
        loss, _ = method(batch, now)
        loss.backward()
        optimizer.step()
        method.after_step(now)
        losses.append(loss.item())
    return losses


def _check_backbone(method: Method, batch: Batch) -> None:
    backbone: Any = method.backbone
    require(isinstance(backbone, nn.Module), method, "backbone is a module")
    with torch.no_grad():
        features = backbone.eval()(batch.views[0])
    fits = isinstance(features, Tensor) and features.dim() == 2 and len(features) == len(batch.index)
    require(fits, method, "backbone maps images [N, 3, S, S] to features [N, D]")


def _equal(one: dict[str, Tensor], two: dict[str, Tensor]) -> bool:
    return one.keys() == two.keys() and all(torch.equal(value, two[name]) for name, value in one.items())
