"""Epochs and curves of a run: there and back, so that a run that goes on has the history of one that never stopped."""

from __future__ import annotations

import json

import numpy as np
import pytest
from hypothesis import given, strategies as st

from training.history import Curve, Epoch, History, TaskMeans

FLOATS = st.floats(allow_nan=False, allow_infinity=False)


def epoch(number: int, selection: float) -> Epoch:
    return Epoch(number, {"ctr": 0.1 * number}, {"ctr": 1 / 3}, selection, {"ctr/auc": selection}, 1e5, 2.5)


def test_the_first_of_equals_is_best() -> None:
    history = History()
    assert [history.add(epoch(number, value)) for number, value in enumerate([0.5, 0.7, 0.7, 0.6], start=1)] == [
        True,
        True,
        False,
        False,
    ]
    assert history.best == 2
    assert history.stale(2)
    assert not history.stale(3)


@given(selections=st.lists(st.floats(0, 1), max_size=6), losses=st.lists(FLOATS, max_size=5))
def test_there_and_back_as_json(selections: list[float], losses: list[float]) -> None:
    history = History(curve=Curve(("ctr", "cvr")))
    for number, value in enumerate(selections, start=1):
        history.add(epoch(number, value))
    for step, loss in enumerate(losses, start=1):
        history.curve.add(step, np.array([loss, 0.25]), np.array([0.5, 0.5]))
    read = History.from_dict(json.loads(json.dumps(history.to_dict(), allow_nan=False)))
    assert read == history


def test_a_loss_that_was_not_finite_is_null() -> None:
    curve = Curve(("ctr", "cvr"))
    curve.add(1, np.array([np.nan, 0.25]), np.array([0.0, 1.0]))
    content = curve.to_dict()
    assert content["losses"] == {"ctr": [None], "cvr": [0.25]}
    assert json.loads(json.dumps(content, allow_nan=False)) == content
    read = Curve.from_dict(content)
    assert np.isnan(read.losses[0][0])
    assert read.to_dict() == content


@pytest.mark.parametrize("num_steps", [0, 1, 511, 512, 1024, 5000])
def test_a_curve_keeps_some_hundred_points_however_long_the_run(num_steps: int) -> None:
    curve = Curve(("ctr",))
    for step in range(1, num_steps + 1):
        curve.add(step, np.array([float(step)]), np.array([1.0]))
    assert len(curve.steps) < 512
    assert len(curve.steps) >= min(num_steps, 256) - 1
    assert curve.steps == list(range(curve.every, num_steps + 1, curve.every))
    assert [point[0] for point in curve.losses] == curve.steps


@given(cut=st.integers(0, 1500))
def test_a_curve_that_goes_on_is_that_of_one_piece(cut: int) -> None:
    whole, parts = Curve(("ctr",)), Curve(("ctr",))
    for step in range(1, 1501):
        if step == cut:
            parts = Curve.from_dict(json.loads(json.dumps(parts.to_dict())))
        for curve in (whole, parts):
            curve.add(step, np.array([1 / step]), np.array([1.0]))
    assert parts.to_dict() == whole.to_dict()


@given(
    rows=st.lists(st.tuples(st.tuples(FLOATS, FLOATS, FLOATS), st.tuples(*[st.booleans()] * 3)), max_size=12),
    cut=st.integers(0, 12),
)
def test_means_that_go_on_are_exactly_those_of_one_piece(
    rows: list[tuple[tuple[float, ...], tuple[bool, ...]]], cut: int
) -> None:
    tasks = ("ctr", "cvr", "spend")
    whole, parts = TaskMeans(tasks), TaskMeans(tasks)
    for place, (values, active) in enumerate(rows):
        if place == cut:
            content, parts = json.loads(json.dumps(parts.to_dict())), TaskMeans(tasks)
            parts.load(content)
        with np.errstate(over="ignore"):
            for means in (whole, parts):
                means.add(np.array(values), np.array(active))
    with np.errstate(over="ignore", invalid="ignore"):
        assert repr(parts.by_task()) == repr(whole.by_task())


def test_steps_without_a_task_do_not_count() -> None:
    means = TaskMeans(("ctr", "cvr"))
    means.add(np.array([1.0, np.nan]), np.array([True, False]))
    means.add(np.array([2.0, np.nan]), np.array([True, False]))
    assert means.by_task() == {"ctr": 1.5, "cvr": 0.0}
