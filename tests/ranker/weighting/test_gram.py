"""The running average of Gram matrices."""

from __future__ import annotations

import pytest
import torch
from pydantic import ValidationError
from torch import Tensor

from ranker.weighting import GramAverage, GramConfig

ALL = torch.ones(3, dtype=torch.bool)


def gram() -> Tensor:
    """A random Gram matrix of three tasks."""
    gradients_TP = torch.randn(3, 5, dtype=torch.float64)
    return gradients_TP @ gradients_TP.T


def test_decay_is_per_step() -> None:
    """A refresh every 4 steps keeps 0.9^4 of the past."""
    average, first_TT, second_TT = GramAverage(GramConfig(every=4, decay=0.9), 3), gram(), gram()
    torch.testing.assert_close(average.update(first_TT, ALL), first_TT)
    keep = 0.9**4
    torch.testing.assert_close(average.update(second_TT, ALL), keep * first_TT + (1 - keep) * second_TT)


def test_without_decay_there_is_no_average() -> None:
    average = GramAverage(GramConfig(decay=0), 3)
    average.update(gram(), ALL)
    newest_TT = gram()
    assert torch.equal(average.update(newest_TT, ALL), newest_TT)


def test_entries_move_only_when_both_tasks_are_active() -> None:
    average, first_TT, second_TT = GramAverage(GramConfig(every=1, decay=0.5), 3), gram(), gram()
    average.update(first_TT, ALL)
    mean_TT = average.update(second_TT, torch.tensor([True, False, True]))
    both = torch.tensor([[True, False, True], [False, False, False], [True, False, True]])
    torch.testing.assert_close(mean_TT[both], (first_TT + second_TT)[both] / 2)
    torch.testing.assert_close(average.mean_TT[~both], first_TT[~both])


def test_a_late_task_starts_with_its_first_value() -> None:
    average, first_TT, second_TT = GramAverage(GramConfig(every=1, decay=0.5), 3), gram(), gram()
    average.update(first_TT, torch.tensor([True, True, False]))
    mean_TT = average.update(second_TT, ALL)
    torch.testing.assert_close(mean_TT[:2, :2], (first_TT + second_TT)[:2, :2] / 2)
    torch.testing.assert_close(mean_TT[2], second_TT[2])


def test_a_non_finite_task_stays_visible_and_does_not_spoil_the_average() -> None:
    average, first_TT, spoiled_TT, third_TT = GramAverage(GramConfig(every=1, decay=0.5), 3), gram(), gram(), gram()
    average.update(first_TT, ALL)
    spoiled_TT[1], spoiled_TT[:, 1] = torch.nan, torch.nan
    seen_TT = average.update(spoiled_TT, ALL)
    assert seen_TT[1, 1].isnan()
    torch.testing.assert_close(seen_TT[0, 2], (first_TT + spoiled_TT)[0, 2] / 2)
    torch.testing.assert_close(average.update(third_TT, ALL)[1, 1], (first_TT + third_TT)[1, 1] / 2)


def test_state_survives_a_round_trip() -> None:
    one, other = GramAverage(GramConfig(), 3), GramAverage(GramConfig(), 3)
    one.update(gram(), torch.tensor([True, True, False]))
    saved = one.state_dict()
    other.load_state_dict(saved)
    for _ in range(2):
        newest_TT = gram()
        assert torch.equal(other.update(newest_TT, ALL), one.update(newest_TT, ALL))
    assert not torch.equal(saved["mean_TT"], one.mean_TT)


def test_bad_arguments_are_named() -> None:
    average = GramAverage(GramConfig(), 3)
    with pytest.raises(ValueError, match=r"`gram_TT` must have shape \[3, 3\], got \[2, 2\]"):
        average.update(torch.eye(2), ALL[:2])
    with pytest.raises(ValueError, match="`state` must be of 3 tasks, got 2"):
        average.load_state_dict(GramAverage(GramConfig(), 2).state_dict())


@pytest.mark.parametrize("values", [{"every": 0}, {"decay": 1.0}, {"decay": -0.1}, {"scope": "all"}], ids=str)
def test_values_out_of_range_are_refused(values: dict[str, object]) -> None:
    with pytest.raises(ValidationError, match=next(iter(values))):
        GramConfig.model_validate(values)
