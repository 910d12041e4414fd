"""Drawings hold every output, whatever its figures, and no label covers another."""

from __future__ import annotations

import re
from typing import get_args
from xml.etree import ElementTree

import numpy as np
import pytest
from hypothesis import given, settings, strategies as st

from tests.training.diagnostics.test_plots import heights, texts
from training.calibration_report import BeforeAfter, Bin, OutputCalibration, Truthfulness
from training.gate import Comparison
from training.gate.decision import Verdict
from training.history import Curve, Epoch
from training.report.comparison_plot import comparison_plot
from training.report.curves import loss_plot, progress_plot
from training.report.reliability_plot import reliability_plot

MANY = tuple(f"task{i}" for i in range(8))


def comparison(output: str, metric: str, verdict: Verdict = "unclear", difference: float = 0.01) -> Comparison:
    interval = (difference - 0.02, difference + 0.03)
    return Comparison(
        output=output, metric=metric, champion=0.7, challenger=0.7 + difference, difference=difference,
        interval=interval, allowed=0.005, verdict=verdict,
    )  # fmt: skip


def curve(tasks: tuple[str, ...], losses: list[list[float]]) -> Curve:
    points = len(losses)
    return Curve(tasks, 1, list(range(1, points + 1)), losses, [[1.0] * len(tasks)] * points)


def epoch(number: int, **aucs: float) -> Epoch:
    valid = {f"{output}/auc": value for output, value in aucs.items()}
    return Epoch(number, {"a": 0.5}, {"a": 1.0}, 0.7, valid, 1000.0, 2.0)


def truth(*bins: tuple[float, float, int]) -> Truthfulness:
    found = tuple(Bin(predicted=predicted, observed=observed, rows=rows) for predicted, observed, rows in bins)
    return Truthfulness(num_rows=9, num_positives=1, log_loss=0.1, predicted_over_observed=1.0, ece=0.0, bins=found)


def calibrated(output: str, before: Truthfulness, after: Truthfulness) -> OutputCalibration:
    both = BeforeAfter(before=before, after=after)
    return OutputCalibration(output=output, map="platt", valid=both, test=both)


@pytest.mark.parametrize("metrics", [("auc",), ("auc", "gauc", "log_loss"), ("auc", "ndcg@10", "ece", "rmse")])
def test_each_metric_has_a_panel_with_all_its_outputs(metrics: tuple[str, ...]) -> None:
    verdicts: tuple[Verdict, ...] = get_args(Verdict)
    outputs = [(name, verdicts[place % len(verdicts)]) for place, name in enumerate(MANY)]
    found = texts(comparison_plot([comparison(name, m, verdict) for m in metrics for name, verdict in outputs]))
    assert all(found.count(name) == len(metrics) for name in MANY)


def test_an_output_has_one_line_in_the_panels_side_by_side() -> None:
    pairs = [("a", "auc"), ("b", "auc"), ("c", "auc"), ("c", "gauc")]
    svg = comparison_plot([comparison(*pair) for pair in pairs])
    lines = re.findall(r"translate\([-\d.]+ ([-\d.]+)\)[^>]*>c</text>|y=\"([-\d.]+)\"[^>]*>c</text>", svg)
    assert len({height for pair in lines for height in pair if height}) == 1


@pytest.mark.parametrize("difference", [0.0, 1e-7, -0.4, 30.0])
def test_differences_of_any_size(difference: float) -> None:
    ElementTree.fromstring(comparison_plot([comparison("a", "auc", difference=difference)]))


def test_curves_of_eight_tasks() -> None:
    random = np.random.default_rng(0)
    many = curve(MANY, random.random((50, 8)).tolist())
    assert set(MANY) <= set(texts(loss_plot(many)))
    aucs = dict.fromkeys(MANY, 0.7)
    svg = progress_plot(many, [epoch(1, **aucs), epoch(2, **aucs)], 2)
    assert np.diff(heights(svg, " 0.7000")).min() > 8
    assert np.diff(heights(svg, " 1.00")).min() > 8


@pytest.mark.parametrize("losses", [[[np.nan]], [[0.5]], [[0.5], [np.nan], [np.inf]], [[0.0]] * 3])
def test_losses_of_any_kind(losses: list[list[float]]) -> None:
    ElementTree.fromstring(loss_plot(curve(("a",), losses)))


def test_a_loss_that_was_never_finite_says_so() -> None:
    assert "no finite loss" in texts(loss_plot(curve(("a",), [[np.nan], [np.nan]])))


def test_without_a_binary_task_the_selection_is_shown() -> None:
    found = texts(progress_plot(curve(("a",), [[1.0]]), [epoch(1)], 1))
    assert "quality on valid" in found
    assert "selection 0.7000" in found


def test_an_epoch_without_an_auc_leaves_a_gap() -> None:
    found = texts(progress_plot(curve(("a",), [[1.0]]), [epoch(1), epoch(2, a=0.6)], 1))
    assert "a –" in found


shares = st.floats(0, 1)


@settings(max_examples=5, deadline=None)
@given(st.lists(st.tuples(shares, shares, st.integers(1, 10_000)), min_size=1, max_size=6))
def test_bins_of_any_kind(bins: list[tuple[float, float, int]]) -> None:
    svg = reliability_plot([calibrated("a", truth(*bins), truth(*reversed(bins)))])
    ElementTree.fromstring(svg)
    assert not re.search(r"\bnan\b|\binf\b", svg)


def test_an_output_without_positives_says_so() -> None:
    nothing = truth((0.0, 0.0, 9))
    assert "no positives" in texts(reliability_plot([calibrated("a", nothing, nothing)]))


def test_many_outputs_are_all_drawn() -> None:
    some = truth((0.1, 0.2, 9), (0.4, 0.0, 7))
    assert set(MANY) <= set(texts(reliability_plot([calibrated(name, some, some) for name in MANY])))
