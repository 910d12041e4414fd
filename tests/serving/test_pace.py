"""Work that could wait leaves most of the time to others, and is never kept from going on for long."""

from __future__ import annotations

import time

import pytest

from serving.pace import Pace


class Clock:
    """Time that passes when it is told to."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.now = 7.0
        self.rests: list[float] = []
        monkeypatch.setattr(time, "perf_counter", lambda: self.now)
        monkeypatch.setattr(time, "sleep", self._sleep)

    def _sleep(self, seconds: float) -> None:
        self.rests.append(seconds)
        self.now += seconds


def test_rests_are_in_proportion_to_the_steps_before_them(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = Clock(monkeypatch)
    pace = Pace(share=0.2)
    steps = [0.004, 0.0, 0.011]
    for seconds in steps:
        clock.now += seconds
        pace.rest()
    assert clock.rests == pytest.approx([4 * seconds for seconds in steps])


def test_no_rest_is_long(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = Clock(monkeypatch)
    pace = Pace(share=0.01)
    clock.now += 50.0
    pace.rest()
    assert clock.rests == [0.1]


def test_the_whole_time_may_be_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = Clock(monkeypatch)
    pace = Pace(share=1)
    clock.now += 3.0
    pace.rest()
    assert clock.rests == [0.0]
