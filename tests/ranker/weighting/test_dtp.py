"""DTP against numpy, fed with qualities as a trainer feeds it."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from pydantic import ValidationError

from ranker.weighting import DTP

TASKS = ("ctr", "cvr", "watch")
LOSSES_T = torch.tensor([0.2, 0.6, 1.5])


def test_equals_numpy() -> None:
    rng = np.random.default_rng(0)
    config = DTP.Config(focus={"ctr": 0.0, "cvr": 2.5}, smoothing=0.3, least=1e-6)
    method, focus = config.build(TASKS), np.array([0.0, 2.5, 1.0])
    average = None
    for _ in range(12):
        qualities = rng.uniform(-0.2, 1, 3)
        method.observe(dict(zip(TASKS, qualities.tolist(), strict=True)))
        new = np.maximum(qualities, 1e-6)
        average = new if average is None else 0.3 * new + 0.7 * average
        kbar = np.clip(average, 1e-6, 1 - 1e-6)
        np.testing.assert_allclose(method.weights(LOSSES_T), -((1 - kbar) ** focus) * np.log(kbar), rtol=1e-12)


def test_known_values() -> None:
    method = DTP.Config(focus=0.0).build(TASKS)
    method.observe({"ctr": 0.0, "cvr": 1.0, "watch": math.exp(-1)})
    weights = method.weights(LOSSES_T).tolist()
    assert weights == pytest.approx([4.6, -math.log(0.99), 1.0], rel=2e-3)


def test_the_training_batch_does_not_matter() -> None:
    method = DTP.Config().build(TASKS)
    method.observe({"ctr": 0.4, "cvr": 0.1, "watch": 0.9})
    first_T = method.weights(LOSSES_T)
    for losses_T in (LOSSES_T * 1e6, LOSSES_T.flip(0)):
        assert torch.equal(method.weights(losses_T), first_T)
    alone_T = method.weights(LOSSES_T, active_T=torch.tensor([False, True, False]))
    assert alone_T.tolist() == [0, first_T[1].item(), 0]
    assert first_T.argsort().tolist() == [2, 0, 1]  # the worse done, the more weight


def test_no_news_changes_nothing() -> None:
    method = DTP.Config().build(TASKS)
    assert method.weights(LOSSES_T).tolist() == [1, 1, 1]
    method.observe({"cvr": 0.3})
    first_T = method.weights(LOSSES_T)
    assert first_T[[0, 2]].tolist() == [1, 1]
    assert first_T[1].item() == pytest.approx(-0.7 * math.log(0.3))
    before = repr(method.state_dict())
    for kpis in ({}, {"cvr": math.nan}, {"ctr": -math.inf}):
        method.observe(kpis)
    method.weights(LOSSES_T)
    assert repr(method.state_dict()) == before


def test_sum_k_counts_the_tasks_of_the_step() -> None:
    method = DTP.Config(sum_k=True).build(TASKS)
    method.observe({"ctr": 0.4, "cvr": 0.1, "watch": 0.9})
    assert method.weights(LOSSES_T).sum().item() == pytest.approx(3)
    assert method.weights(LOSSES_T, active_T=torch.tensor([True, True, False])).sum().item() == pytest.approx(2)


def test_bad_qualities_are_named() -> None:
    method = DTP.Config().build(TASKS)
    before = repr(method.state_dict())
    with pytest.raises(ValueError, match=r"`kpis` must name tasks among .*, got \['buy'\]"):
        method.observe({"buy": 0.4})
    with pytest.raises(ValueError, match=r"`kpis` must be at most 1, which is perfect, got 1.5 for 'cvr'"):
        method.observe({"ctr": 0.4, "cvr": 1.5})
    assert repr(method.state_dict()) == before


@pytest.mark.parametrize("wrong", [{"focus": -1}, {"smoothing": 0}, {"least": 0}, {"least": 0.5}], ids=str)
def test_options_are_checked(wrong: dict[str, object]) -> None:
    with pytest.raises(ValidationError, match=next(iter(wrong))):
        DTP.Config.model_validate(wrong)
