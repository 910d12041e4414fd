"""Random numbers: kept, gone back to, and drawn once more."""

from __future__ import annotations

import torch

from training.random_state import random_again, random_state, set_random_state

CPU = torch.device("cpu")


def test_the_same_numbers_once_more() -> None:
    state = random_state(CPU)
    first = torch.rand(5)
    second = torch.rand(3)
    with random_again(CPU, state):
        assert torch.equal(torch.rand(5), first)
    set_random_state(CPU, state)
    assert torch.equal(torch.rand(5), first)
    assert torch.equal(torch.rand(3), second)


def test_what_a_gpu_left_does_not_matter_on_a_cpu() -> None:
    state = random_state(CPU)
    first = torch.rand(5)
    of_a_gpu = torch.zeros(16, dtype=torch.uint8)
    set_random_state(CPU, [*state, of_a_gpu])
    assert torch.equal(torch.rand(5), first)
