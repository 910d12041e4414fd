"""DualProj projects the mean gradient on the dual cone of all."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import torch
from hypothesis import given, strategies as st
from hypothesis.extra import numpy as hnp
from pydantic import ValidationError

from ranker.weighting import DualProj, factor, project_on_dual_cone
from ranker.weighting.dualproj import project_mean
from ranker.weighting.min_norm import Array

TASKS = ("ctr", "cvr", "watch")
LOSSES_T = torch.ones(3)


def preference_for(gradients_KP: Array) -> Array:
    """Unequal ones of sum 1."""
    ranks_K = np.arange(1.0, len(gradients_KP) + 1)
    preference_K: Array = ranks_K / ranks_K.sum()
    return preference_K


def test_it_is_the_nearest_to_the_mean_that_conflicts_with_nothing(
    hard_gradients: list[Array], nearest_without_conflict: Callable[[Array, Array], Array]
) -> None:
    for gradients_KP in hard_gradients:
        if len(gradients_KP) <= 5:
            preference_K = preference_for(gradients_KP)
            found_P = project_mean(gradients_KP @ gradients_KP.T, preference_K) @ gradients_KP
            expected_P = nearest_without_conflict(gradients_KP, preference_K @ gradients_KP)
            assert np.linalg.norm(found_P - expected_P) <= 1e-5 * np.linalg.norm(gradients_KP)


def test_optimality_conditions(hard_gradients: list[Array]) -> None:
    """Of v + sum x_k f_k: x >= 0, no conflict, and x_k > 0 only at right angles; in cosines."""
    for gradients_KP in hard_gradients:
        factor_KR, preference_K = factor(gradients_KP @ gradients_KP.T), preference_for(gradients_KP)
        vector_R = preference_K @ factor_KR
        x_K = project_on_dual_cone(factor_KR, vector_R)
        lengths_K, length = np.linalg.norm(factor_KR, axis=1), np.linalg.norm(vector_R)
        cosines_K = factor_KR @ (vector_R + x_K @ factor_KR) / lengths_K / length
        assert (x_K >= 0).all()
        assert (cosines_K >= -1e-9).all()
        assert np.abs(x_K * lengths_K / length * cosines_K).max() <= 1e-6


@given(hnp.arrays(np.float64, st.tuples(st.integers(1, 5), st.integers(1, 4)), elements=st.integers(-9, 9)))
def test_it_conflicts_with_nothing_whatever_the_gradients(gradients_KP: Array) -> None:
    gram_KK = torch.from_numpy(gradients_KP @ gradients_KP.T)
    method = DualProj.Config().build([f"task{k}" for k in range(len(gradients_KP))])
    weights_K = method.weights(torch.ones(len(gradients_KP)), gram_KK)
    assert (gram_KK @ weights_K >= -1e-7 * gram_KK.trace()).all()


def test_without_conflict_it_is_the_mean() -> None:
    weights_T = DualProj.Config().build(TASKS).weights(LOSSES_T, torch.eye(3) + 0.5)
    torch.testing.assert_close(weights_T, torch.full((3,), 1 / 3, dtype=torch.float64))


def test_preferences_are_relative_to_the_tasks_that_take_part() -> None:
    method, gram_TT = DualProj.Config(preference={"ctr": 3.0, "cvr": 4.0}).build(TASKS), torch.eye(3)
    expected_T = torch.tensor([3 / 8, 4 / 8, 1 / 8], dtype=torch.float64)
    torch.testing.assert_close(method.weights(LOSSES_T, gram_TT), expected_T)
    expected_T = torch.tensor([3 / 4, 0, 1 / 4], dtype=torch.float64)
    torch.testing.assert_close(method.weights(LOSSES_T, gram_TT, torch.tensor([True, False, True])), expected_T)


def test_two_opposing_tasks_stand_still() -> None:
    gradients_TP = torch.tensor([[1.0, 2.0], [-2.0, -4.0]])
    method = DualProj.Config().build(TASKS[:2])
    assert method.weights(LOSSES_T[:2], gradients_TP @ gradients_TP.T).tolist() == [0, 0]
    assert method.state["pareto_stationary_steps"] == 1


def test_wrong_preferences_are_refused() -> None:
    with pytest.raises(ValueError, match=r"`preference` must name tasks among .* got \['buy'\]"):
        DualProj.Config(preference={"buy": 1.0}).build(TASKS)
    for value in (0.0, -1.0, float("nan"), float("inf")):
        with pytest.raises(ValidationError, match="preference"):
            DualProj.Config(preference=value)
