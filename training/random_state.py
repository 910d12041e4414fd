"""The state of torch's random numbers: kept, and gone back to."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor


def random_state(device: torch.device) -> list[Tensor]:
    """What the next random numbers depend on."""
    return [torch.get_rng_state(), *([torch.cuda.get_rng_state(device)] if device.type == "cuda" else [])]


def set_random_state(device: torch.device, state: list[Tensor]) -> None:
    """Go on from that state. A state from another kind of device says nothing of this device's own numbers."""
    torch.set_rng_state(state[0])
    if device.type == "cuda" and len(state) > 1:
        torch.cuda.set_rng_state(state[1], device)


@contextmanager
def random_again(device: torch.device, state: list[Tensor]) -> Iterator[None]:
    """The random numbers drawn since that state once more: the same dropout, so that only parameters differ."""
    with torch.random.fork_rng(devices=[device] if device.type == "cuda" else []):
        set_random_state(device, state)
        yield
