"""Between two steps: when a checkpoint is due, and when to stop."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import torch.distributed as dist
from hypothesis import given, strategies as st

from training.distributed import process_group
from training.safe_point import Due, SafePoints


class Clock:
    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.mark.usefixtures("group")
def test_a_checkpoint_is_due_when_its_time_has_come() -> None:
    clock = Clock()
    points = SafePoints(30, clock=clock)
    assert points.look(1) is Due.NOTHING
    clock.now += 29
    assert points.look(2) is Due.NOTHING
    clock.now += 1
    assert points.look(3) is points.look(4) is Due.CHECKPOINT  # until one is saved
    points.saved()
    assert points.look(5) is Due.NOTHING
    clock.now += 30
    assert points.look(6) is Due.CHECKPOINT


@pytest.mark.usefixtures("group")
def test_zero_seconds_mean_after_every_step() -> None:
    points = SafePoints(0, clock=Clock())
    assert [points.look(step) for step in range(3)] == [Due.CHECKPOINT] * 3


@pytest.mark.usefixtures("group")
def test_a_wish_to_stop_comes_first() -> None:
    asked: list[int] = []
    points = SafePoints(0, lambda: bool(asked), Clock())
    assert points.look(1) is Due.CHECKPOINT
    asked.append(1)
    assert points.look(2) is Due.STOP


@given(every=st.floats(0.5, 100), moves=st.lists(st.floats(0, 50), max_size=30))
def test_two_checkpoints_are_never_closer_than_asked(every: float, moves: list[float]) -> None:
    with process_group():
        clock = Clock()
        points, last = SafePoints(every, clock=clock), clock.now
        for step, move in enumerate(moves):
            clock.now += move
            if points.look(step) is Due.CHECKPOINT:
                assert clock.now - last >= every
                points.saved()
                last = clock.now
            else:
                assert clock.now - last < every


def main() -> None:
    """One of several processes: each has its own clock, and the second alone is asked to stop, at its 40th step."""
    with process_group():
        rank, step = dist.get_rank(), 0
        clock = Clock()

        def stop() -> bool:
            return rank == 1 and step >= 40

        points = SafePoints(10, stop, clock)
        seen = []
        for step in range(1, 65):
            clock.now += 1.0 if rank == 0 else 0.125
            due = points.look(step)
            if due is Due.CHECKPOINT:
                points.saved()
            if due is not Due.NOTHING:
                seen.append(f"{step}:{due.name}")
        sys.stdout.write(" ".join(seen) + "\n")


def test_processes_get_the_same_answer(in_two_processes: Callable[..., list[str]]) -> None:
    first, second = in_two_processes(str(Path(__file__)))
    assert first == second == "16:CHECKPOINT 32:CHECKPOINT 48:STOP 64:STOP\n"


if __name__ == "__main__":
    main()
