"""Constants, and constants that decay."""

from __future__ import annotations

import pytest
import torch
from pydantic import ValidationError

from ranker.weighting import Static

LOSSES_T = torch.tensor([0.2, 0.6, 1.5])
TASKS = ("ctr", "cvr", "watch")


def test_weights_by_name() -> None:
    static = Static.Config(weights={"watch": 0.25, "ctr": 0.0}).build(TASKS)
    assert static.weights(LOSSES_T).tolist() == [0, 1, 0.25]


def test_one_weight_for_all() -> None:
    assert Static.Config(weights=0.5).build(TASKS).weights(LOSSES_T).tolist() == [0.5, 0.5, 0.5]
    assert Static.Config().build(TASKS).weights(LOSSES_T).tolist() == [1, 1, 1]


def test_decay_is_geometric_in_steps() -> None:
    static = Static.Config(weights={"cvr": 3.0}, decay={"cvr": 0.9}).build(TASKS)
    for step in range(5):
        torch.testing.assert_close(static.weights(LOSSES_T), torch.tensor([1, 3.0 * 0.9**step, 1], dtype=torch.float64))


def test_steps_in_which_no_task_takes_part_do_not_count() -> None:
    static = Static.Config(decay=0.5).build(TASKS)
    static.weights(LOSSES_T)
    static.weights(LOSSES_T, active_T=torch.zeros(3, dtype=torch.bool))
    static.weights(LOSSES_T * torch.nan)
    assert static.weights(LOSSES_T).tolist() == [0.5, 0.5, 0.5]


def test_a_lone_task_keeps_its_weight() -> None:
    """Weights are absolute: a batch of one scenario trains at the same rate as any other."""
    static = Static.Config(weights={"cvr": 0.1}).build(TASKS)
    assert static.weights(LOSSES_T, active_T=torch.tensor([False, True, False])).tolist() == [0, 0.1, 0]


def test_unknown_tasks_are_named() -> None:
    with pytest.raises(ValueError, match=r"`weights` must name tasks among \('ctr', 'cvr', 'watch'\), got \['buy'\]"):
        Static.Config(weights={"buy": 0.25}).build(TASKS)
    with pytest.raises(ValueError, match=r"`decay` must name tasks among"):
        Static.Config(decay={"buy": 0.25}).build(TASKS)


def test_some_task_must_count() -> None:
    with pytest.raises(ValueError, match="`weights` must give some task a weight above 0"):
        Static.Config(weights=0.0).build(TASKS)


@pytest.mark.parametrize(
    "values",
    [{"weights": -0.1}, {"weights": {"ctr": float("inf")}}, {"weights": float("nan")}, {"decay": 0}, {"decay": 1.5}],
    ids=str,
)
def test_values_out_of_range_are_refused(values: dict[str, object]) -> None:
    with pytest.raises(ValidationError, match=next(iter(values))):
        Static.Config.model_validate(values)
