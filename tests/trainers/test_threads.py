"""The number of torch's threads is a function of the network, and torch gets its own number back."""

import os
import subprocess
import sys
from contextlib import suppress

import pytest
import torch
from torch import nn

from viewstream.trainers import threads
from viewstream.trainers.methods.build import build
from viewstream.trainers.nets.encoder import backbone
from viewstream.trainers.recipes.options import SEED
from viewstream.trainers.threads import WORTH, Threads, all_cores, asked, by_size, multiply_adds, taken
from viewstream.trainers.training.options import Run
from viewstream.trainers.training.threads import of_run


def test_multiply_adds_are_those_of_the_layers_and_leave_the_network_as_it_was():
    net = nn.Sequential(nn.Conv2d(3, 8, 3, padding=1, groups=1), nn.BatchNorm2d(8), nn.Flatten(), nn.Linear(8 * 16, 5))
    net[1].eval()
    before = {name: value.clone() for name, value in net.state_dict().items()}
    state = torch.get_rng_state()
    assert multiply_adds(net, 4) == 16 * 8 * 3 * 9 + 8 * 16 * 5
    assert net.training
    assert not net[1].training
    assert all(torch.equal(value, before[name]) for name, value in net.state_dict().items())
    assert torch.equal(torch.get_rng_state(), state)
    assert not any(layer._forward_hooks for layer in net.modules())


@pytest.mark.parametrize(("arch", "billions"), [("resnet18", 1.81), ("resnet50", 4.09)])
def test_multiply_adds_of_published_networks_are_the_published_ones(arch, billions):
    assert multiply_adds(backbone(arch)[0], 224) / 1e9 == pytest.approx(billions, abs=0.01)


def test_a_small_network_takes_one_thread_and_a_large_one_a_thread_for_each_part_of_its_work(monkeypatch):
    net = nn.Conv2d(3, 8, 3, padding=1)
    image = multiply_adds(net, 32)
    monkeypatch.setattr(threads, "share_of_cores", lambda: 8)
    images = [1, WORTH // image, 3 * WORTH // image + 1, 100 * WORTH // image]
    assert [by_size([net], 32, n).number for n in images] == [1, 1, 3, 8]


def test_ranks_of_a_machine_share_its_cores(monkeypatch):
    monkeypatch.setattr("viewstream.pipeline.workers.cores", lambda: 8)
    monkeypatch.setenv("LOCAL_WORLD_SIZE", "4")
    assert all_cores().number == 2
    assert by_size([nn.Conv2d(3, 8, 3)], 512, 10**9).number == 2


def test_the_flag_counts_more_than_the_environment_and_both_more_than_the_rule(monkeypatch):
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    assert asked("auto") is None
    monkeypatch.setenv("OMP_NUM_THREADS", "7")  # torch has read it at its import
    assert asked("auto") == (torch.get_num_threads(), "as OMP_NUM_THREADS says")
    assert asked(3) == (3, "as --threads says")


def test_torch_gets_its_number_back_even_after_an_error():
    before = torch.get_num_threads()
    inside = []
    with suppress(ValueError), taken(Threads(before + 1, "")):
        inside.append(torch.get_num_threads())
        raise ValueError
    assert inside == [before + 1]
    assert torch.get_num_threads() == before


@pytest.mark.parametrize(("teacher", "number"), [("test_resnet", 1), ("resnet18", 2)])
def test_every_network_of_a_method_counts(monkeypatch, teacher, number):
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    monkeypatch.setattr(threads, "share_of_cores", lambda: 8)
    recipe = SEED(arch="test_resnet", teacher_arch=teacher, size=32, batch_size=256, queue=256, bn_groups=2)
    method = build(recipe, 4)
    assert of_run(recipe, Run(), method, torch.device("cpu"), None, 0).number == number


@pytest.mark.parametrize(
    ("first", "given", "policy"),
    [
        ("viewstream.trainers", {}, "PASSIVE"),
        ("viewstream.trainers", {"OMP_WAIT_POLICY": "ACTIVE"}, "ACTIVE"),
        ("torch", {}, "None"),
    ],
)
def test_threads_wait_without_spinning_unless_the_user_decides_or_torch_is_there_already(first, given, policy):
    code = f"import {first}, viewstream.trainers, os; print(os.environ.get('OMP_WAIT_POLICY'))"
    env = {k: v for k, v in os.environ.items() if not k.startswith("OMP_")} | given
    done = subprocess.run([sys.executable, "-c", code], env=env, capture_output=True, text=True, check=True)
    assert done.stdout == f"{policy}\n"
