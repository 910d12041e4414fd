"""DWA against numpy on recorded losses."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from pydantic import ValidationError

from ranker.weighting import DWA
from ranker.weighting.min_norm import Array

# Shapes: S = steps, W = windows, T = 3 tasks

TASKS = ("ctr", "cvr", "watch")


def reference(losses_ST: Array, window: int, temperature: float) -> Array:
    """Weights [T] of the step after the last one; NaN losses are those of tasks that took no part."""
    num_windows = len(losses_ST) // window
    if num_windows < 2:
        return np.ones(losses_ST.shape[1])
    rows = [losses_ST[k * window : (k + 1) * window] for k in (num_windows - 2, num_windows - 1)]
    ratios = []
    for before, last in zip(*(block.T for block in rows), strict=True):
        before, last = before[~np.isnan(before)], last[~np.isnan(last)]
        ratios.append(last.mean() / before.mean() if len(before) and len(last) else 1.0)
    exponents = np.exp(np.array(ratios) / temperature)
    weights: Array = len(ratios) * exponents / exponents.sum()
    return weights


@pytest.mark.parametrize(("window", "temperature"), [(1, 2.0), (4, 2.0), (5, 0.3)])
def test_equals_numpy(window: int, temperature: float) -> None:
    rng = np.random.default_rng(0)
    losses_ST = rng.gamma(2.0, size=(33, 3)) * [0.01, 1.0, 40.0]
    losses_ST[rng.random((33, 3)) < 0.2] = np.nan
    losses_ST[10:20, 1] = np.nan  # whole windows without a label
    losses_ST[:, 2] = np.abs(np.nan_to_num(losses_ST[:, 2], nan=3.0))  # some task in every step
    method = DWA.Config(window=window, temperature=temperature).build(TASKS)
    for step in range(33):
        active_T = torch.from_numpy(~np.isnan(losses_ST[step]))
        weights_T = method.weights(torch.from_numpy(losses_ST[step]), active_T=active_T)
        expected_T = reference(losses_ST[:step], window, temperature)
        if active_T.sum() > 1:  # one alone has weight 1
            np.testing.assert_allclose(weights_T[active_T], expected_T[active_T.numpy()], rtol=1e-12)
        np.testing.assert_allclose(method.state["weights_T"].sum(), 3, rtol=1e-12)


def test_all_are_one_until_two_windows_are_complete() -> None:
    method = DWA.Config(window=3).build(TASKS)
    seen = [method.weights(torch.tensor([1.0, 2.0, 3.0]) / (step + 1) ** torch.arange(3)).tolist() for step in range(7)]
    assert seen[:6] == [[1, 1, 1]] * 6
    assert seen[6][0] > seen[6][1] > seen[6][2]  # what fell least counts most


def test_it_is_gentle() -> None:
    method = DWA.Config(window=1).build(TASKS[:2])
    for losses in ([1.0, 1.0], [0.5, 1.5], [1.0, 1.0]):
        weights_T = method.weights(torch.tensor(losses))
    assert 1.64 < (weights_T[1] / weights_T[0]).item() < 1.65


@pytest.mark.parametrize("scale", [1e-6, 1.0, 1e6])
def test_a_window_of_nothing_says_nothing_at_any_scale(scale: float) -> None:
    method = DWA.Config(window=1).build(TASKS)
    for losses_T in ([0.0, 1e-14, 1.0], [1.0, 1.0, 0.5], [1.0, 1.0, 1.0]):
        weights_T = method.weights(scale * torch.tensor(losses_T, dtype=torch.float64))
    expected_T = 3 * torch.softmax(torch.tensor([1.0, 1.0, 0.5], dtype=torch.float64) / 2, dim=0)
    torch.testing.assert_close(weights_T, expected_T)


def test_a_non_finite_loss_stays_out_of_the_window() -> None:
    method, clean = DWA.Config(window=2).build(TASKS), DWA.Config(window=2).build(TASKS)
    for step in range(6):
        losses_T = torch.rand(3) + 0.1
        spoilt_T = losses_T.clone()
        spoilt_T[0] = torch.inf if step % 2 else losses_T[0]
        method.weights(spoilt_T)
        clean.weights(losses_T, active_T=torch.tensor([step % 2 == 0, True, True]))
    assert torch.equal(method.state["means_T"], clean.state["means_T"])
    assert torch.equal(method.state["weights_T"], clean.state["weights_T"])


@pytest.mark.parametrize("wrong", [{"window": 0}, {"temperature": 0}, {"temperature": float("inf")}], ids=str)
def test_options_are_checked(wrong: dict[str, object]) -> None:
    with pytest.raises(ValidationError, match=next(iter(wrong))):
        DWA.Config.model_validate(wrong)
