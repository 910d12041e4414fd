"""Steps are noted in the order in which they end, failed ones too."""

from __future__ import annotations

import pytest

from serving.timeline import Timeline


def test_steps_lie_within_the_request() -> None:
    timeline = Timeline()
    with timeline.step("outer"), timeline.step("inner"):
        pass
    assert [step.name for step in timeline.steps] == ["inner", "outer"]
    for step in timeline.steps:
        assert timeline.begin <= step.start
        assert 0 <= step.seconds <= timeline.age_ns() / 1e9


def test_a_step_that_fails_counts() -> None:
    timeline = Timeline()
    with pytest.raises(ZeroDivisionError), timeline.step("broken"):
        _ = 1 / 0
    assert [step.name for step in timeline.steps] == ["broken"]
