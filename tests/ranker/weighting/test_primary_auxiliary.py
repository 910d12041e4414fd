"""Primaries are followed as far as auxiliaries allow."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from pydantic import ValidationError
from scipy.optimize import minimize
from torch import Tensor
from torchjd.aggregation import PCD

from ranker.weighting import MGDA, PrimaryAuxiliary
from ranker.weighting.min_norm import Array, factor
from ranker.weighting.primary_auxiliary import project_with_margins

TASKS = ("ctr", "cvr", "watch", "buy")
LOSSES_T = torch.ones(4)


def gram(gradients_TP: Tensor) -> Tensor:
    return gradients_TP @ gradients_TP.T


def update(gradients_KP: Array, **options: Any) -> Array:
    """The shared update; the first task is the primary unless `options` say otherwise."""
    names = [f"task{k}" for k in range(len(gradients_KP))]
    method = PrimaryAuxiliary.Config.model_validate({"primaries": names[:1], **options}).build(names)
    weights_K = method.weights(torch.ones(len(names)), torch.from_numpy(gradients_KP @ gradients_KP.T))
    return weights_K.numpy() @ gradients_KP


def all_taking_part(cases: list[Array]) -> list[Array]:
    """Cases without a task that is left out because its gradient is nothing beside another's."""
    norms = [np.linalg.norm(gradients_KP, axis=1) for gradients_KP in cases]
    kept = [case for case, norms_K in zip(cases, norms, strict=True) if norms_K.min() > 1e-11 * norms_K.max()]
    assert len(kept) > len(cases) / 2
    return kept


def steepest_by_slsqp(gradients_KP: Array, num_primaries: int) -> Array:
    """argmax_u min over primaries <g_i, u> - ||u||^2 / 2 with <g_j, u> >= 0 for the others: the problem as stated."""
    num_tasks, width = gradients_KP.shape
    is_primary_K = np.arange(num_tasks) < num_primaries
    result = minimize(
        lambda v: v[:-1] @ v[:-1] / 2 - v[-1],  # v is u and the least gain of a primary
        np.zeros(width + 1),
        jac=lambda v: np.append(v[:-1], -1.0),
        constraints={
            "type": "ineq",
            "fun": lambda v: gradients_KP @ v[:-1] - v[-1] * is_primary_K,
            "jac": lambda _: np.column_stack([gradients_KP, -1.0 * is_primary_K]),
        },
        method="SLSQP",
        options={"ftol": 1e-14, "maxiter": 500},
    )
    assert result.success
    return np.asarray(result.x[:-1])


def test_the_primary_is_projected_on_the_dual_cone(
    hard_gradients: list[Array], nearest_without_conflict: Callable[[Array, Array], Array]
) -> None:
    for gradients_KP in all_taking_part(hard_gradients):
        if len(gradients_KP) <= 5:
            expected_P = nearest_without_conflict(gradients_KP[1:], gradients_KP[0])
            difference = np.linalg.norm(update(gradients_KP) - expected_P)
            assert difference <= 1e-5 * np.linalg.norm(gradients_KP[0])


def test_optimality_conditions(hard_gradients: list[Array]) -> None:
    """<u, g_j> >= 0 and <u, g_0> = ||u||^2, which says that auxiliaries in use are at right angles; all in cosines."""
    for gradients_KP in all_taking_part(hard_gradients):
        units_KP = gradients_KP / np.linalg.norm(gradients_KP, axis=1, keepdims=True)
        update_P = update(gradients_KP) / np.linalg.norm(gradients_KP[0])
        assert (units_KP[1:] @ update_P >= -1e-7).all()
        assert units_KP[0] @ update_P == pytest.approx(update_P @ update_P, abs=1e-7)


@pytest.mark.parametrize(("num_primaries", "num_tasks"), [(1, 1), (1, 4), (2, 3), (2, 5), (3, 5), (4, 4)])
def test_as_steep_as_a_general_solver_finds(num_primaries: int, num_tasks: int) -> None:
    rng = np.random.default_rng(num_tasks)
    for _ in range(6):
        gradients_KP = rng.normal(size=(num_tasks, 7)) + 0.5 * rng.normal(size=7)
        names = [f"task{k}" for k in range(num_primaries)]
        expected_P = steepest_by_slsqp(gradients_KP, num_primaries)
        np.testing.assert_allclose(update(gradients_KP, primaries=names), expected_P, atol=1e-4)


def test_one_auxiliary_has_a_closed_form() -> None:
    """Also learning from noisy labels, with clean ones as the auxiliary."""
    for _ in range(20):
        gradients_TP = torch.randn(2, 3, dtype=torch.float64)
        gram_TT = gram(gradients_TP)
        weights_T = PrimaryAuxiliary.Config(primaries=("cvr",)).build(TASKS[:2]).weights(LOSSES_T[:2], gram_TT)
        expected_T = torch.stack([(-gram_TT[0, 1]).relu() / gram_TT[0, 0], torch.ones_like(gram_TT[0, 0])])
        torch.testing.assert_close(weights_T, expected_T)


def test_the_trap_of_the_published_iteration() -> None:
    """Turning only to the auxiliary that is harmed most ends at (0.5, 0): allowed, but not the nearest, which is 0."""
    gradients_TP = torch.tensor([[0.0, 1.0], [1.0, -1.0], [0.0, -1.0]], dtype=torch.float64)
    method = PrimaryAuxiliary.Config(primaries=("ctr",)).build(TASKS[:3])
    assert method.weights(LOSSES_T[:3], gram(gradients_TP)).tolist() == [0, 0, 0]
    assert method.state["pareto_stationary_steps"] == 1


def test_without_auxiliaries_it_is_mgda() -> None:
    for _ in range(10):
        gram_TT = gram(torch.randn(4, 7, dtype=torch.float64))
        expected_T = MGDA.Config().build(TASKS).weights(LOSSES_T, gram_TT)
        for config in (PrimaryAuxiliary.Config(), PrimaryAuxiliary.Config(primaries=TASKS)):
            torch.testing.assert_close(config.build(TASKS).weights(LOSSES_T, gram_TT), expected_T)


@pytest.mark.parametrize("scale", [1e-5, 1e5])
def test_the_length_of_an_auxiliary_does_not_matter(scale: float) -> None:
    for seed in range(10):
        gradients_KP = np.random.default_rng(seed).normal(size=(4, 5))
        scaled_KP = gradients_KP * np.array([[1.0], [scale], [1.0], [1 / scale]])
        np.testing.assert_allclose(update(scaled_KP), update(gradients_KP), atol=1e-8)


@pytest.mark.parametrize("num_tasks", [1, 2, 3, 6])
def test_torchjd_has_the_same_direction(num_tasks: int) -> None:
    rng = np.random.default_rng(num_tasks)
    for _ in range(10):
        gradients_KP = rng.normal(size=(num_tasks, 7)) * 10.0 ** rng.uniform(-1, 1, size=(num_tasks, 1))
        update_P, expected_P = update(gradients_KP), PCD(tau=0.0)(torch.from_numpy(gradients_KP)).numpy()
        lengths = np.linalg.norm(update_P) * np.linalg.norm(expected_P)
        assert update_P @ expected_P == pytest.approx(lengths, rel=1e-9)


class TestMargin:
    def test_optimality_conditions(self) -> None:
        """With d = f_0 + sum_j x_j f_j: x >= 0, slack_j = <f_j, d> - margin ||f_j||^2 >= 0, x_j slack_j = 0."""
        rng = np.random.default_rng(0)
        for num_tasks in (1, 2, 3, 5):
            for _ in range(20):
                gradients_KP, margins_J = rng.normal(size=(num_tasks, 9)), rng.uniform(0, 1, size=num_tasks - 1)
                gradients_KP *= 10.0 ** rng.uniform(-3, 3, size=(num_tasks, 1))
                weights_K = project_with_margins(factor(gradients_KP @ gradients_KP.T), 0, margins_J)
                assert weights_K is not None
                assert weights_K[0] == 1
                squares_J = np.square(gradients_KP[1:]).sum(axis=1)
                slacks_J = (gradients_KP[1:] @ (weights_K @ gradients_KP) - margins_J * squares_J) / squares_J
                size_J = 1 + np.linalg.norm(weights_K @ gradients_KP) / np.sqrt(squares_J)
                assert (weights_K >= 0).all()
                assert (slacks_J >= -1e-8 * size_J).all()
                assert (np.abs(slacks_J)[weights_K[1:] > 0] <= 1e-8 * size_J[weights_K[1:] > 0]).all()

    def test_as_near_as_a_general_solver_finds(self) -> None:
        rng = np.random.default_rng(1)
        for _ in range(15):
            gradients_KP, margins_J = rng.normal(size=(4, 6)), np.array([0.3, 0.0, 0.9])
            weights_K = project_with_margins(factor(gradients_KP @ gradients_KP.T), 0, margins_J)
            bounds_J = margins_J * np.square(gradients_KP[1:]).sum(axis=1)
            result = minimize(
                lambda u, g: np.square(u - g[0]).sum(),
                gradients_KP[0],
                args=(gradients_KP,),
                constraints={"type": "ineq", "fun": lambda u, g, b: g[1:] @ u - b, "args": (gradients_KP, bounds_J)},
                method="SLSQP",
                options={"ftol": 1e-14, "maxiter": 500},
            )
            assert weights_K is not None
            np.testing.assert_allclose(weights_K @ gradients_KP, result.x, atol=1e-4)

    def test_torchjd_agrees_step_by_step(self) -> None:
        method = PrimaryAuxiliary.Config(primaries=("ctr",), margin={"cvr": 0.2, "watch": 0.05}, norm_decay=0.9).build(
            TASKS
        )
        reference = PCD(tau=torch.tensor([0.2, 0.05, 0.0]), beta=0.9, eps=0.0)
        for _ in range(10):
            gradients_TP = torch.randn(4, 7, dtype=torch.float64) * torch.tensor([[1.0], [30.0], [0.1], [2.0]])
            update_P = method.weights(LOSSES_T, gram(gradients_TP)) @ gradients_TP
            torch.testing.assert_close(update_P, reference(gradients_TP), rtol=1e-6, atol=1e-6)
            assert update_P.norm() == pytest.approx(gradients_TP[0].norm())

    def test_every_auxiliary_gets_its_margin(self) -> None:
        """At the first step the running norm is the norm itself: a share of its own unit step, whatever its length."""
        for seed in range(10):
            gradients_KP = np.random.default_rng(seed).normal(size=(4, 9)) * np.array([[1.0], [1e-5], [1.0], [1e5]])
            units_KP = gradients_KP / np.linalg.norm(gradients_KP, axis=1, keepdims=True)
            weights_K = project_with_margins(factor(units_KP @ units_KP.T), 0, np.full(3, 0.1))
            assert weights_K is not None
            assert (units_KP[1:] @ (weights_K @ units_KP) >= 0.1 - 1e-9).all()
            expected_P = weights_K @ units_KP / np.linalg.norm(weights_K @ units_KP)
            found_P = update(gradients_KP, margin=0.1) / np.linalg.norm(gradients_KP[0])
            np.testing.assert_allclose(found_P, expected_P, atol=1e-6)

    def test_contradictory_margins_become_zero(self) -> None:
        gradients_KP = np.array([[1.0, 1.0, 0.5], [0.0, 2.0, 0.0], [0.0, -3.0, 0.0]])
        assert project_with_margins(factor(gradients_KP @ gradients_KP.T), 0, np.array([0.1, 0.0])) is None
        method = PrimaryAuxiliary.Config(primaries=("ctr",), margin={"cvr": 0.1}).build(TASKS[:3])
        weights_T = method.weights(LOSSES_T[:3], torch.from_numpy(gradients_KP @ gradients_KP.T))
        assert method.state["contradictory_margin_steps"] == 1
        expected_P = np.array([1.0, 0.0, 0.5]) * np.linalg.norm(gradients_KP[0]) / np.linalg.norm([1.0, 0.5])
        np.testing.assert_allclose(weights_T.numpy() @ gradients_KP, expected_P, atol=1e-7)

    def test_running_norms_count_each_task_by_itself(self) -> None:
        method = PrimaryAuxiliary.Config(primaries=("ctr",), margin=0.1, norm_decay=0.75).build(TASKS[:2])
        method.weights(LOSSES_T[:2], torch.diag(torch.tensor([4.0, 9.0])))
        method.weights(LOSSES_T[:2], torch.diag(torch.tensor([8.0, 9.0])), torch.tensor([True, False]))
        assert method.state["num_norms"].tolist() == [2, 1]
        torch.testing.assert_close(
            method.state["square_norms"], torch.tensor([0.75 * 0.25 * 4 + 0.25 * 8, 0.25 * 9], dtype=torch.float64)
        )

    def test_a_late_auxiliary_is_measured_by_its_own_norm_at_once(self) -> None:
        method = PrimaryAuxiliary.Config(primaries=("ctr",), margin=0.4, norm_decay=0.9).build(TASKS[:2])
        gradients_TP = torch.tensor([[2.0, -1.0, 0.0], [0.0, 5.0, 3.0]], dtype=torch.float64)
        for _ in range(3):
            method.weights(LOSSES_T[:2], gram(gradients_TP), torch.tensor([True, False]))
        update_P = method.weights(LOSSES_T[:2], gram(gradients_TP)) @ gradients_TP
        units_KP = torch.nn.functional.normalize(gradients_TP).numpy()
        weights_K = project_with_margins(factor(units_KP @ units_KP.T), 0, np.array([0.4]))
        assert weights_K is not None
        expected_P = weights_K @ units_KP
        expected_P *= np.linalg.norm([2.0, -1.0]) / np.linalg.norm(expected_P)
        np.testing.assert_allclose(update_P.numpy(), expected_P)

    def test_it_is_of_auxiliaries_of_one_primary(self) -> None:
        with pytest.raises(ValueError, match=r"`margin` must be 0 unless there is exactly one primary, .*'ctr', 'buy'"):
            PrimaryAuxiliary.Config(primaries=("ctr", "buy"), margin=0.1).build(TASKS)
        with pytest.raises(ValueError, match=r"`margin` must be of auxiliaries, got {'ctr': 0.1}"):
            PrimaryAuxiliary.Config(primaries=("ctr",), margin={"ctr": 0.1}).build(TASKS)
        with pytest.raises(ValueError, match=r"`margin` must name tasks among .* got \['like'\]"):
            PrimaryAuxiliary.Config(primaries=("ctr",), margin={"like": 0.1}).build(TASKS)
        with pytest.raises(ValidationError, match="margin"):
            PrimaryAuxiliary.Config(primaries=("ctr",), margin=1.5)


@pytest.mark.parametrize("margin", [0.0, 0.1])
@pytest.mark.parametrize("absence", ["inactive", "non-finite", "no gradient"])
def test_without_its_primary_a_step_is_skipped(absence: str, margin: float) -> None:
    method = PrimaryAuxiliary.Config(primaries=("watch",), margin=margin).build(TASKS)
    method.weights(LOSSES_T, gram(torch.randn(4, 7)))
    before, gradients_TP = method.state_dict(), torch.randn(4, 7)
    active_T = torch.ones(4, dtype=torch.bool)
    if absence == "inactive":
        active_T[2] = False
    else:
        gradients_TP[2] = torch.nan if absence == "non-finite" else 0
    assert method.weights(LOSSES_T, gram(gradients_TP), active_T).tolist() == [0, 0, 0, 0]
    after = method.state_dict()
    changed = {name for name in before if repr(before[name]) != repr(after[name])}
    assert changed == ({"nonfinite_steps"} if absence == "non-finite" else set())


@pytest.mark.parametrize("margin", [0.0, 0.1])
def test_the_rest_can_stand_in_for_the_primary(margin: float) -> None:
    method = PrimaryAuxiliary.Config(primaries=("watch",), without_primary="rest", margin=margin).build(TASKS)
    gram_TT, active_T = gram(torch.randn(4, 7)), torch.tensor([True, True, False, True])
    expected_T = MGDA.Config().build(TASKS).weights(LOSSES_T, gram_TT, active_T)
    torch.testing.assert_close(method.weights(LOSSES_T, gram_TT, active_T), expected_T)
    alone_T = torch.tensor([False, True, False, False])
    assert method.weights(LOSSES_T, gram_TT, alone_T).tolist() == [0, 1, 0, 0]


def test_an_auxiliary_alone_is_not_followed() -> None:
    method = PrimaryAuxiliary.Config(primaries=("watch",)).build(TASKS)
    alone_T = torch.tensor([False, True, False, False])
    assert method.weights(LOSSES_T, torch.eye(4), alone_T).tolist() == [0, 0, 0, 0]
    assert method.state["pareto_stationary_steps"] == 0


def test_one_of_two_primaries_is_enough() -> None:
    method = PrimaryAuxiliary.Config(primaries=("ctr", "buy")).build(TASKS)
    gradients_TP = torch.randn(4, 7, dtype=torch.float64)
    weights_T = method.weights(LOSSES_T, gram(gradients_TP), torch.tensor([False, True, True, True]))
    alone = PrimaryAuxiliary.Config(primaries=("buy",)).build(TASKS[1:])
    torch.testing.assert_close(weights_T[1:], alone.weights(LOSSES_T[1:], gram(gradients_TP)[1:, 1:]))


def test_primaries_must_be_tasks() -> None:
    with pytest.raises(ValueError, match=r"`primaries` must name tasks among .* got \['like'\]"):
        PrimaryAuxiliary.Config(primaries=("ctr", "like")).build(TASKS)
    with pytest.raises(ValidationError, match="primaries"):
        PrimaryAuxiliary.Config(primaries=())
