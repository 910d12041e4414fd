"""Standard errors that know of clusters."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pytest

from ranker.schema import Ids
from training.data_check.groups import NUM_GROUPS, design_effect, rate_error, row_groups


def test_whole_users_are_in_one_group() -> None:
    users = np.random.default_rng(1).integers(0, 97, 1_201)
    rows = pa.table({"user": users, "request": np.arange(1_201)})
    groups = row_groups(rows, Ids(user="user", request="request"))
    assert all(len(set(groups[users == user])) == 1 for user in range(97))
    assert len(set(groups.tolist())) > NUM_GROUPS // 2
    assert len(set(row_groups(rows, Ids(request="request")).tolist())) == NUM_GROUPS


def test_without_ids_rows_are_dealt_out_one_by_one() -> None:
    rows = pa.table({"x": np.zeros(50)})
    assert row_groups(rows, Ids(), first_row=7).tolist() == [(row + 7) % NUM_GROUPS for row in range(50)]


def test_the_error_of_a_rate_is_what_its_scatter_is() -> None:
    random = np.random.default_rng(4)
    rates, errors = [], []
    for _ in range(400):
        appeal = random.beta(2.0, 6.0, 320)  # users of 5 rows each, in 32 groups
        sums = random.binomial(5, appeal).reshape(NUM_GROUPS, 10).sum(axis=1)
        rates.append(sums.sum() / 1_600)
        errors.append(rate_error(sums, np.full(NUM_GROUPS, 50)))
    assert np.mean(errors) == pytest.approx(np.std(rates), rel=0.12)


def test_no_rows_have_no_error() -> None:
    assert rate_error(np.zeros(NUM_GROUPS), np.zeros(NUM_GROUPS)) == 0


def test_independent_rows_have_an_effect_of_one_and_copies_their_number() -> None:
    random = np.random.default_rng(5)
    counts = np.stack([random.multinomial(90, [0.5, 0.2, 0.2, 0.1]) for _ in range(NUM_GROUPS)])
    plain = design_effect(counts)
    assert 1 <= plain < 1.6
    assert design_effect(7 * counts) == pytest.approx(7 * max(1, design_effect(counts)), rel=0.35)


@pytest.mark.parametrize("counts", [np.zeros((NUM_GROUPS, 3)), np.ones((NUM_GROUPS, 1)), np.eye(1, 4)])
def test_nothing_to_compare_is_no_effect(counts: np.ndarray) -> None:
    assert design_effect(counts) == 1
