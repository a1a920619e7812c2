"""SEED equals the numbers recorded from the original programs, with and without small patches."""

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from viewstream.trainers.methods.moco import logits
from viewstream.trainers.methods.seed import SEED, targets
from viewstream.trainers.nets.encoder import Encoder
from viewstream.trainers.nets.heads import head

from .steps import NOW, batch_of, queue_of

ONE_VIEW = ["s0_small", "s1_default_temps_wrap", "s3_soft_teacher", "s4_large"]
PATCHES = ["patch_s0", "patch_s1_wrap_default_temps", "patch_s3_unnormalised_teacher"]


def close(ours, recorded):
    torch.testing.assert_close(ours, recorded.double(), rtol=0, atol=1e-5)


def compared(raw, t, queue, g):
    """Rows of the student (not normalized) and the teacher -> student's logits, teacher's probabilities, loss."""
    scores = logits(F.normalize(raw, dim=1), t, queue.rows, float(g["temp_student"]))
    probabilities = targets(t, queue.rows, float(g["temp_teacher"]))
    return scores, probabilities, F.cross_entropy(scores, probabilities)


@pytest.mark.parametrize("name", ONE_VIEW)
def test_logits_targets_losses_gradients_and_the_queue_equal_the_recorded_ones(name, golden):
    """student_raw, teacher_raw [S, N, D]: S steps on one queue."""
    g = golden(f"seed_{name}")
    queue = queue_of(g["queue"], g["ptr"])
    for s in range(len(g["loss"])):
        raw = g["student_raw"][s].double().requires_grad_()
        t = F.normalize(g["teacher_raw"][s].double(), dim=1)
        scores, probabilities, loss = compared(raw, t, queue, g)
        loss.backward()
        queue.push(t)
        close(scores, g["logit_student"][s])
        close(probabilities, g["prob_teacher"][s])
        close(loss, g["loss"][s])
        close(raw.grad, g["grad_s_raw"][s])
        close(queue.rows.T, g["queue_after"][s])
        assert int(queue.head) == int(g["ptr_after"][s])


@pytest.mark.parametrize("name", PATCHES)
def test_small_patches_have_targets_and_a_queue_of_their_own_as_recorded(name, golden):
    """*_small_raw [S, N, P, D] is row n P + p of the method; the small queue takes patch 0."""
    g = golden(f"seed_{name}")
    queues = [queue_of(g[k], g["ptr"]) for k in ("queue", "small_queue")]
    normalized = (lambda x: F.normalize(x, dim=1)) if g["teacher_normalises"] else (lambda x: x)
    for s in range(len(g["loss"])):
        losses = []
        for queue, size in zip(queues, ("", "_small"), strict=True):
            raw = g[f"student{size}_raw"][s].double().requires_grad_()
            t = normalized(g[f"teacher{size}_raw"][s].double().flatten(0, -2))
            scores, probabilities, loss = compared(raw.flatten(0, -2), t, queue, g)
            loss.backward()
            queue.push(t[:: len(t) // len(g["student_raw"][s])])
            close(scores, g[f"logit_student{size}"][s])
            close(probabilities, g[f"prob_teacher{size}"][s])
            close(raw.grad, g[f"grad_s{size}_raw"][s])
            close(queue.rows.T, g[f"{size[1:]}{size and '_'}queue_after"][s])
            assert int(queue.head) == int(g["ptr_after"][s])
            losses.append(loss)
        close(sum(losses), g["loss"][s])


def seed_of(g, student, teacher, **options):
    """SEED in the state that a recording starts from."""
    seed = SEED(student, teacher, dim=8, queue=g["queue"].shape[1], bn_groups=1, **options)
    seed.temperature, seed.teacher_temperature = float(g["temp_student"]), float(g["temp_teacher"])
    seed.queue = queue_of(g["queue"], g.get("ptr", 0))
    if "small_queue" in g:
        seed.small_queue = queue_of(g["small_queue"], g["ptr"])
    return seed.double().train()


def test_a_step_through_mlp_heads_equals_the_recorded_one(golden):
    """x [N, 12]; student.fc.*, teacher.fc.*: MoCo's mlp head from 12 to 8."""
    g = golden("seed_s5_mlp_heads")
    student, teacher = (Encoder(nn.Identity(), head("mlp", 12, 8)) for _ in range(2))
    for net, name in ((student, "student"), (teacher, "teacher")):
        net.head.load_state_dict({k: g[f"{name}.fc.{k}"] for k in net.head.state_dict()})
    seed = seed_of(g, student, teacher)
    loss, _ = seed(batch_of(g["x"].double()), NOW)
    loss.backward()
    seed.after_step(NOW)
    close(loss, g["loss"])
    for k, parameter in student.head.named_parameters():
        close(parameter.grad, g[f"grad.student.fc.{k}"])
    close(seed.queue.rows.T, g["queue_after"])


class Replay(nn.Module):
    """A network that ignores its input: each call returns the next of its outputs, [N, D]."""

    def __init__(self, *outputs):
        super().__init__()
        self.outputs = list(outputs)

    def forward(self, x):
        output = self.outputs.pop(0)
        assert len(output) == len(x)
        return output


def test_the_step_with_patches_equals_the_recorded_one(golden):
    g = golden("seed_patch_s0")
    dim = g["queue"].shape[0]

    def outputs(network):
        return [g[f"{network}{size}_raw"][0].double().reshape(-1, dim) for size in ("", "_small")]

    large, small = (rows.requires_grad_() for rows in outputs("student"))
    student, teacher = (Encoder(Replay(*rows), nn.Identity()) for rows in ((large, small), outputs("teacher")))
    seed = seed_of(g, student, teacher, patches=True)
    x = torch.zeros(4, 3, 2, 2)
    loss, stats = seed(batch_of(x, *[x] * 6), NOW)
    loss.backward()
    seed.after_step(NOW)
    close(loss, g["loss"][0])
    close(stats["small"], g["loss_small"][0])
    close(large.grad, g["grad_s_raw"][0])
    close(small.grad, g["grad_s_small_raw"][0].flatten(0, 1))
    for queue, name in ((seed.queue, "queue_after"), (seed.small_queue, "small_queue_after")):
        close(queue.rows.T, g[name][0])
        assert int(queue.head) == int(g["ptr_after"][0])
