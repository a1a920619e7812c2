"""Whether a run may go on for another number of epochs than it began with."""

from dataclasses import replace

from ...shards.errors import plural
from ..methods.method import Method
from ..recipes.options import Recipe
from .optim import schedule


def objection(recipe: Recipe, method: Method, per_epoch: int, before: int, step: int) -> str:
    """Why a run that has taken `step` steps of `before` epochs cannot go on for those of `recipe`; empty if it can.

    It can if the steps would have been the same: no learning rate of theirs changes, and no schedule of the method.
    """
    if step > recipe.epochs * per_epoch:
        return f"it has taken {plural(step, 'step')}, more than {plural(recipe.epochs, 'epoch')} of them"
    if method.uses_total:
        return f"{recipe.method} follows a schedule over all epochs, so the steps already taken would have been others"
    old, new = (schedule(replace(recipe, epochs=epochs), per_epoch) for epochs in (before, recipe.epochs))
    if any(old(past) != new(past) for past in range(step)):
        return f"--schedule {recipe.schedule} would have given the steps already taken other learning rates"
    return ""
