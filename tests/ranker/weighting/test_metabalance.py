"""MetaBalance against the published loop over gradients."""

from __future__ import annotations

import pytest
import torch
from pydantic import ValidationError
from torch import Tensor

from ranker.weighting import GramConfig, MetaBalance

# Shapes: T = 3 tasks, P = 6 shared parameters

TASKS = ("ctr", "cvr", "watch")
LOSSES_T = torch.tensor([0.2, 0.6, 1.5])
SIZES_T1 = torch.tensor([[1.0], [0.01], [50.0]], dtype=torch.float64)
EVERY_STEP = GramConfig(every=1, decay=0.0)


def gradients() -> Tensor:
    """Gradients [T, P] of very different size."""
    return torch.randn(3, 6, dtype=torch.float64) * SIZES_T1


def gram(gradients_TP: Tensor) -> Tensor:
    """Their inner products."""
    return gradients_TP @ gradients_TP.T


def test_equals_the_published_loop() -> None:
    """The authors' code: running means that start at 0, uncorrected; the target is 'cvr'."""
    method = MetaBalance.Config(target="cvr", relax=0.6, beta=0.8, gram=EVERY_STEP).build(TASKS)
    means_T = [0.0, 0.0, 0.0]
    for _ in range(12):
        gradients_TP = gradients()
        means_T = [0.8 * m + 0.2 * g.norm().item() for m, g in zip(means_T, gradients_TP, strict=True)]
        changed = [g * means_T[1] / m * 0.6 + g * (1 - 0.6) for m, g in zip(means_T, gradients_TP, strict=True)]
        update_P = method.weights(LOSSES_T, gram(gradients_TP)) @ gradients_TP
        torch.testing.assert_close(update_P, torch.stack(changed).sum(0))


def test_relax_runs_from_untouched_to_equal_norms() -> None:
    gradients_TP = gradients()
    untouched = MetaBalance.Config(target="ctr", relax=0.0).build(TASKS)
    assert untouched.weights(LOSSES_T, gram(gradients_TP)).tolist() == [1, 1, 1]
    equal = MetaBalance.Config(target="ctr", relax=1.0).build(TASKS)
    norms_T = (equal.weights(LOSSES_T, gram(gradients_TP))[:, None] * gradients_TP).norm(dim=1)
    torch.testing.assert_close(norms_T, norms_T[0].expand(3))


@pytest.mark.parametrize("target", TASKS)
def test_the_target_keeps_its_gradient(target: str) -> None:
    method = MetaBalance.Config(target=target).build(TASKS)
    for _ in range(5):
        weights_T = method.weights(LOSSES_T, gram(gradients()))
        assert weights_T[TASKS.index(target)].item() == pytest.approx(1, rel=1e-12)


def test_beta_is_per_step_whatever_lies_between_refreshes() -> None:
    sparse = MetaBalance.Config(target="ctr", beta=0.9, gram=GramConfig(every=4, decay=0.0)).build(TASKS)
    dense = MetaBalance.Config(target="ctr", beta=0.9**4, gram=EVERY_STEP).build(TASKS)
    for _ in range(4):
        gram_TT = gram(gradients())
        torch.testing.assert_close(sparse.weights(LOSSES_T, gram_TT), dense.weights(LOSSES_T, gram_TT))


def test_a_late_task_is_not_taken_for_small() -> None:
    method, gram_TT = MetaBalance.Config(target="ctr", relax=1.0).build(TASKS), gram(gradients())
    for _ in range(20):
        method.weights(LOSSES_T, gram_TT, torch.tensor([True, False, True]))
    weights_T = method.weights(LOSSES_T, gram_TT)
    norms_T = gram_TT.diagonal().sqrt()
    torch.testing.assert_close(weights_T * norms_T, norms_T[0].expand(3))


def test_without_the_target_its_last_mean_counts() -> None:
    without = torch.tensor([False, True, True])
    method, gram_TT = MetaBalance.Config(target="ctr").build(TASKS), gram(gradients())
    assert method.weights(LOSSES_T, gram_TT, without).tolist() == [0, 1, 1]  # none yet
    all_T = method.weights(LOSSES_T, gram_TT)
    before = method.state_dict()
    torch.testing.assert_close(method.weights(LOSSES_T, gram_TT, without)[1:], all_T[1:])
    for name in ("norms_T", "totals_T"):
        assert method.state[name][0] == before[name][0]


def test_options_are_checked() -> None:
    with pytest.raises(ValidationError, match="target\n  Field required"):
        MetaBalance.Config.model_validate({})
    with pytest.raises(ValueError, match=r"`target` must name tasks among \('ctr', 'cvr', 'watch'\), got \['buy'\]"):
        MetaBalance.Config(target="buy").build(TASKS)
    for wrong in ({"relax": 1.1}, {"beta": 1.0}):
        with pytest.raises(ValidationError, match=next(iter(wrong))):
            MetaBalance.Config.model_validate({"target": "ctr", **wrong})
