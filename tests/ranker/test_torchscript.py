"""TorchScript is called outside the lock of Python's interpreter, from begin to end."""

from __future__ import annotations

import sys
import threading
from collections.abc import Callable, Iterator
from time import monotonic

import pytest
import torch
from torch import Tensor, nn

from ranker.torchscript import call, script

PATIENCE_SECONDS = 1.0
LARGE = 2**23  # work for long enough that another thread has the interpreter meanwhile


class Steps(nn.Module):
    """Reads its arguments again and again, and then says so in the memory of the last one."""

    def forward(self, first_N: Tensor, second_N: Tensor, done_1: Tensor) -> Tensor:
        """Both together."""
        parts = [first_N.exp(), second_N.exp()]
        for _ in range(3):
            parts += [first_N, second_N]
        total = torch.stack(parts).sum(0)
        done_1.fill_(1)
        return total


@pytest.fixture
def unyielding() -> Iterator[None]:
    """A thread that has the interpreter keeps it for as long as it likes."""
    interval = sys.getswitchinterval()
    sys.setswitchinterval(1000)
    yield
    sys.setswitchinterval(interval)


def is_done_meanwhile(function: Callable[..., Tensor]) -> bool:
    """Whether a call gets done while another thread keeps the interpreter for itself."""
    tensors = torch.ones(LARGE), torch.ones(LARGE), torch.zeros(1)
    seen, done, begin = [False], tensors[2].numpy(), threading.Event()

    def watch() -> None:
        begin.wait()
        until = monotonic() + PATIENCE_SECONDS
        while not seen[0] and monotonic() < until:
            seen[0] = done[0] == 1

    thread = threading.Thread(target=watch)
    thread.start()
    with torch.inference_mode():
        begin.set()
        total_N = function(*tensors)
    thread.join()
    assert total_N[0].item() == pytest.approx(2 * torch.e + 6)
    return seen[0]


@pytest.mark.usefixtures("unyielding")
def test_a_call_needs_no_interpreter_until_it_is_done() -> None:
    steps = script(Steps())
    assert not is_done_meanwhile(steps)  # or `call` is not needed any more
    assert is_done_meanwhile(lambda *tensors: call(steps, *tensors))
