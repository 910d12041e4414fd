"""A breaker lets nobody wait for what fails, and finds out by itself when it works again."""

from __future__ import annotations

import pytest
from hypothesis import given, strategies as st

from serving.breaker import Breaker


class Clock:
    """Time that moves when it is told to."""

    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


class Circuit:
    """A breaker of three failures and a pause of seven seconds, its clock, and what it told."""

    def __init__(self) -> None:
        self.clock = Clock()
        self.told: list[bool] = []
        self.breaker = Breaker(Breaker.Config(failures=3, pause_seconds=7.0), self.told.append, self.clock)

    def fail(self, times: int) -> None:
        """Calls that go wrong, as long as they may be made."""
        for _ in range(times):
            assert self.breaker.allows()
            self.breaker.failed()


@pytest.fixture
def circuit() -> Circuit:
    return Circuit()


def test_failures_in_a_row_open_it(circuit: Circuit) -> None:
    circuit.fail(2)
    circuit.breaker.succeeded()
    circuit.fail(2)
    assert not circuit.breaker.is_open
    circuit.fail(1)
    assert circuit.breaker.is_open
    assert not circuit.breaker.allows()
    assert circuit.told == [True]


def test_one_call_at_a_time_tries_after_the_pause(circuit: Circuit) -> None:
    circuit.fail(3)
    circuit.clock.now += 6.9
    assert not circuit.breaker.allows()
    circuit.clock.now += 0.2
    assert [circuit.breaker.allows() for _ in range(4)] == [True, False, False, False]


def test_a_try_that_succeeds_closes_it(circuit: Circuit) -> None:
    circuit.fail(3)
    circuit.clock.now += 8
    assert circuit.breaker.allows()
    circuit.breaker.succeeded()
    assert not circuit.breaker.is_open
    assert circuit.breaker.allows()
    assert circuit.told == [True, False]
    circuit.fail(2)
    assert not circuit.breaker.is_open  # it counts from the beginning again


def test_a_try_that_fails_means_another_pause(circuit: Circuit) -> None:
    circuit.fail(3)
    circuit.clock.now += 8
    circuit.fail(1)
    assert not circuit.breaker.allows()
    circuit.clock.now += 6.9
    assert not circuit.breaker.allows()
    circuit.clock.now += 0.2
    assert circuit.breaker.allows()
    assert circuit.told == [True]  # it never closed meanwhile


def test_a_try_that_nobody_waited_for_is_repeated_by_the_next_call(circuit: Circuit) -> None:
    circuit.fail(3)
    circuit.clock.now += 8
    assert circuit.breaker.allows()
    circuit.breaker.abandoned()
    assert circuit.breaker.allows()


@given(st.lists(st.sampled_from(["succeeded", "failed", "abandoned", "wait"]), max_size=60))
def test_whatever_happens_it_tries_again_after_a_pause(events: list[str]) -> None:
    circuit = Circuit()
    for event in events:
        if event == "wait":
            circuit.clock.now += 5
        elif circuit.breaker.allows():
            getattr(circuit.breaker, event)()
    circuit.clock.now += 7.1
    assert circuit.breaker.allows()
    circuit.breaker.succeeded()
    assert not circuit.breaker.is_open
    assert circuit.told == [True, False] * (len(circuit.told) // 2)
