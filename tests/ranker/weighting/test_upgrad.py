"""UPGrad projects every task's gradient on the dual cone of all, and combines the projections."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import torch
from hypothesis import given, strategies as st
from hypothesis.extra import numpy as hnp
from pydantic import ValidationError

from ranker.weighting import PCGrad, UPGrad
from ranker.weighting.min_norm import Array
from ranker.weighting.upgrad import combine_projections

TASKS = ("ctr", "cvr", "watch")
LOSSES_T = torch.ones(3)


def test_each_projection_is_the_nearest_that_conflicts_with_nothing(
    hard_gradients: list[Array], nearest_without_conflict: Callable[[Array, Array], Array]
) -> None:
    for gradients_KP in hard_gradients:
        if len(gradients_KP) <= 5:
            gram_KK = gradients_KP @ gradients_KP.T
            for k, gradient_P in enumerate(gradients_KP):
                only_K = np.eye(len(gradients_KP))[k]
                found_P = combine_projections(gram_KK, only_K) @ gradients_KP
                expected_P = nearest_without_conflict(gradients_KP, gradient_P)
                assert np.linalg.norm(found_P - expected_P) <= 1e-5 * np.linalg.norm(gradient_P)


def test_it_conflicts_with_nothing(hard_gradients: list[Array]) -> None:
    for gradients_KP in hard_gradients:
        preference_K = np.full(len(gradients_KP), 1 / len(gradients_KP))
        weights_K = combine_projections(gradients_KP @ gradients_KP.T, preference_K)
        assert (weights_K >= preference_K).all()
        units_KP = gradients_KP / np.linalg.norm(gradients_KP, axis=1, keepdims=True)
        assert (units_KP @ (weights_K @ gradients_KP) >= -1e-7 * np.linalg.norm(gradients_KP)).all()


@given(hnp.arrays(np.float64, st.tuples(st.integers(1, 5), st.integers(1, 4)), elements=st.integers(-9, 9)))
def test_it_conflicts_with_nothing_whatever_the_gradients(gradients_KP: Array) -> None:
    gram_KK = torch.from_numpy(gradients_KP @ gradients_KP.T)
    method = UPGrad.Config().build([f"task{k}" for k in range(len(gradients_KP))])
    weights_K = method.weights(torch.ones(len(gradients_KP)), gram_KK)
    assert (gram_KK @ weights_K >= -1e-7 * gram_KK.trace()).all()


def test_for_two_tasks_it_is_the_mean_of_pcgrad() -> None:
    for _ in range(20):
        gradients_TP = torch.randn(2, 3, dtype=torch.float64)
        gram_TT = gradients_TP @ gradients_TP.T
        expected_T = PCGrad.Config(scale="mean").build(TASKS[:2]).weights(LOSSES_T[:2], gram_TT)
        torch.testing.assert_close(UPGrad.Config().build(TASKS[:2]).weights(LOSSES_T[:2], gram_TT), expected_T)


def test_a_task_counts_as_much_as_its_gradient_is_long() -> None:
    """Under a rescaling of single gradients, the projections only rescale: 1e-6 is as exact as 1."""
    rng = np.random.default_rng(0)
    for _ in range(10):
        gradients_KP, preference_K = rng.normal(size=(4, 5)), rng.uniform(0.5, 2, size=4)
        scales_K = 10.0 ** rng.uniform(-6, 6, size=4)
        scaled_KP = scales_K[:, None] * gradients_KP
        scaled_P = combine_projections(scaled_KP @ scaled_KP.T, preference_K / scales_K) @ scaled_KP
        update_P = combine_projections(gradients_KP @ gradients_KP.T, preference_K) @ gradients_KP
        np.testing.assert_allclose(scaled_P, update_P, atol=1e-8)


def test_preferences_are_relative_to_the_tasks_that_take_part() -> None:
    method, gram_TT = UPGrad.Config(preference={"ctr": 3.0, "cvr": 4.0}).build(TASKS), torch.eye(3)
    expected_T = torch.tensor([3 / 8, 4 / 8, 1 / 8], dtype=torch.float64)
    torch.testing.assert_close(method.weights(LOSSES_T, gram_TT), expected_T)
    expected_T = torch.tensor([3 / 4, 0, 1 / 4], dtype=torch.float64)
    torch.testing.assert_close(method.weights(LOSSES_T, gram_TT, torch.tensor([True, False, True])), expected_T)


def test_two_opposing_tasks_stand_still() -> None:
    gradients_TP = torch.tensor([[1.0, 2.0], [-2.0, -4.0]])
    method = UPGrad.Config().build(TASKS[:2])
    assert method.weights(LOSSES_T[:2], gradients_TP @ gradients_TP.T).tolist() == [0, 0]
    assert method.state["pareto_stationary_steps"] == 1


def test_wrong_preferences_are_refused() -> None:
    with pytest.raises(ValueError, match=r"`preference` must name tasks among .* got \['buy'\]"):
        UPGrad.Config(preference={"buy": 1.0}).build(TASKS)
    for value in (0.0, -1.0, float("nan"), float("inf")):
        with pytest.raises(ValidationError, match="preference"):
            UPGrad.Config(preference=value)
