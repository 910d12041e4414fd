"""What every balancing method owes; a new one is in this suite as soon as it is in `WeightingConfig`."""

from __future__ import annotations

import typing

import pytest
import torch
from pydantic import TypeAdapter, ValidationError
from torch import Tensor

from ranker.weighting import (
    DTP,
    DWA,
    MGDA,
    PELTR,
    SVD,
    DescentConfig,
    DualProj,
    GradNorm,
    GradVac,
    MetaBalance,
    PCGrad,
    PrimaryAuxiliary,
    Static,
    Uncertainty,
    UPGrad,
    Weighting,
    WeightingConfig,
    WeightingOptions,
)

# Shapes: T = 3 tasks, P = 7 shared parameters

MEMBERS: tuple[type[WeightingOptions], ...] = typing.get_args(typing.get_args(WeightingConfig)[0])
TASKS = ("ctr", "cvr", "watch")
REQUIRED: dict[type[WeightingOptions], dict[str, str]] = {MetaBalance.Config: {"target": "ctr"}}


def minimal(member: type[WeightingOptions]) -> WeightingOptions:
    """The options of a method with nothing said but what it requires."""
    return member.model_validate(REQUIRED.get(member, {}))


SETTINGS = [
    *(minimal(member) for member in MEMBERS),
    Uncertainty.Config(kinds={"watch": "regression"}, max_weight=1.7, descent=DescentConfig(optimizer="sgd")),
    GradNorm.Config(alpha=0.5, initial_losses={"ctr": 0.4}, base_rates={"cvr": 0.1}),
    DWA.Config(window=1, temperature=0.7),
    DTP.Config(focus={"cvr": 0.5}, sum_k=True),
    MetaBalance.Config(target="ctr", relax=0.3, beta=0.5, scale="norm"),
    SVD.Config(centre=True, sum_k=True),
    Static.Config(weights={"cvr": 0.3, "watch": 2.0}, decay={"ctr": 0.5}),
    PELTR.Config(bounds={"cvr": 0.2, "watch": 0.1}),
    PELTR.Config(bounds=0.2, mode="two_step"),
    PELTR.Config(bounds={"ctr": 0.1}, scale="sum_k"),
    PELTR.Config(bounds={"ctr": 0.1}, scale="norm"),
    MGDA.Config(normalization="l2"),
    MGDA.Config(normalization="loss"),
    MGDA.Config(normalization="loss+"),
    PCGrad.Config(seed=3, scale="mean"),
    GradVac.Config(beta=0.5, seed=3),
    PrimaryAuxiliary.Config(primaries=("ctr",)),
    PrimaryAuxiliary.Config(primaries=("watch", "ctr")),
    PrimaryAuxiliary.Config(primaries=("ctr",), margin={"cvr": 0.1}, norm_decay=0.9),
    UPGrad.Config(preference={"cvr": 3.0}),
    DualProj.Config(preference={"cvr": 3.0}),
]
LOSSES_T = torch.tensor([0.2, 0.6, 1.5])

config = pytest.mark.parametrize("config", SETTINGS, ids=repr)


def build(config: WeightingOptions, task_names: tuple[str, ...] = TASKS) -> Weighting:
    """The method for these tasks."""
    return TypeAdapter[WeightingConfig](WeightingConfig).validate_python(config).build(task_names)


def gradients() -> Tensor:
    """Gradients [T, P] that partly conflict."""
    return torch.randn(3, 7, dtype=torch.float64) * torch.tensor([[1.0], [0.3], [3.0]])


def gram(gradients_TP: Tensor) -> Tensor:
    """Their inner products."""
    return gradients_TP @ gradients_TP.T


@config
def test_weights_are_float64_and_leave_their_arguments_alone(config: WeightingOptions) -> None:
    losses_T, gram_TT = LOSSES_T.clone().requires_grad_(), gram(gradients()).float()
    before_TT = gram_TT.clone()
    weights_T = build(config).weights(losses_T, gram_TT)
    assert weights_T.shape == (3,)
    assert weights_T.dtype == torch.float64
    assert not weights_T.requires_grad
    assert torch.equal(gram_TT, before_TT)


@config
def test_same_state_same_weights(config: WeightingOptions) -> None:
    gram_TT = gram(gradients())
    assert torch.equal(build(config).weights(LOSSES_T, gram_TT), build(config).weights(LOSSES_T, gram_TT))


@config
def test_permuted_tasks_get_permuted_weights(config: WeightingOptions) -> None:
    gram_TT, order = gram(gradients()), [2, 0, 1]
    one, other = build(config), build(config, tuple(TASKS[t] for t in order))
    for _ in range(2):
        expected_T = one.weights(LOSSES_T, gram_TT)[order]
        torch.testing.assert_close(other.weights(LOSSES_T[order], gram_TT[order][:, order]), expected_T)


@config
def test_rotated_parameters_change_nothing(config: WeightingOptions) -> None:
    gradients_TP = gradients()
    rotation_PP = torch.linalg.qr(torch.randn(7, 7, dtype=torch.float64)).Q
    rotated_T = build(config).weights(LOSSES_T, gram(gradients_TP @ rotation_PP))
    torch.testing.assert_close(rotated_T, build(config).weights(LOSSES_T, gram(gradients_TP)))


@config
@pytest.mark.parametrize("scale", [1e-6, 1e6])
def test_a_common_scale_of_gradients_changes_nothing(config: WeightingOptions, scale: float) -> None:
    gradients_TP = gradients()
    scaled_T = build(config).weights(LOSSES_T, gram(scale * gradients_TP))
    torch.testing.assert_close(scaled_T, build(config).weights(LOSSES_T, gram(gradients_TP)))


@config
@pytest.mark.parametrize("garbage", [0.0, torch.nan, torch.inf])
def test_an_inactive_task_counts_as_absent(config: WeightingOptions, garbage: float) -> None:
    gram_TT, losses_T = gram(gradients()), LOSSES_T.clone()
    without_T = build(config).weights(losses_T, gram_TT, torch.tensor([True, False, True]))
    gram_TT[1], gram_TT[:, 1], losses_T[1] = garbage, garbage, garbage
    method = build(config)
    weights_T = method.weights(losses_T, gram_TT, torch.tensor([True, False, True]))
    assert weights_T[1] == 0
    assert (weights_T[[0, 2]] > 0).any()
    assert torch.equal(weights_T, without_T)
    assert method.state["nonfinite_steps"].tolist() == [0, 0, 0]


@config
def test_without_an_active_task_nothing_happens(config: WeightingOptions) -> None:
    method, gram_TT = build(config), gram(gradients())
    method.weights(LOSSES_T, gram_TT)
    before = method.state_dict()
    weights_T = method.weights(LOSSES_T, gram_TT, torch.zeros(3, dtype=torch.bool))
    assert weights_T.tolist() == [0, 0, 0]
    assert repr(method.state_dict()) == repr(before)


@config
@pytest.mark.parametrize("bad", [torch.nan, torch.inf])
def test_a_non_finite_loss_takes_the_task_out_and_is_counted(config: WeightingOptions, bad: float) -> None:
    method, gram_TT, losses_T = build(config), gram(gradients()), LOSSES_T.clone()
    expected_T = build(config).weights(losses_T, gram_TT, torch.tensor([True, True, False]))
    losses_T[2] = bad
    assert torch.equal(method.weights(losses_T, gram_TT), expected_T)
    method.weights(losses_T, gram_TT)
    assert method.state["nonfinite_steps"].tolist() == [0, 0, 2]
    method.weights(LOSSES_T, gram_TT, torch.tensor([True, True, False]))  # inactive: no news about it
    assert method.state["nonfinite_steps"].tolist() == [0, 0, 2]
    method.weights(LOSSES_T, gram_TT)
    assert method.state["nonfinite_steps"].tolist() == [0, 0, 0]


@config
@pytest.mark.parametrize("bad", [torch.nan, torch.inf])
def test_a_non_finite_gradient_takes_only_its_own_task_out(config: WeightingOptions, bad: float) -> None:
    """Though it spoils the whole row and column of the Gram matrix."""
    method, gradients_TP = build(config), gradients()
    expected_T = build(config).weights(LOSSES_T, gram(gradients_TP), torch.tensor([False, True, True]))
    gradients_TP[0, 3] = bad
    weights_T = method.weights(LOSSES_T, gram(gradients_TP))
    if method.needs_gram:
        assert torch.equal(weights_T, expected_T)
        assert method.state["nonfinite_steps"].tolist() == [1, 0, 0]
    assert weights_T.isfinite().all()


@config
def test_a_task_without_gradient_takes_no_part(config: WeightingOptions) -> None:
    gradients_TP = gradients()
    expected_T = build(config).weights(LOSSES_T, gram(gradients_TP), torch.tensor([True, False, True]))
    for size in (0.0, 1e-13):
        method = build(config)
        gradients_TP[1] = size * gradients_TP[0]
        if method.needs_gram:
            torch.testing.assert_close(method.weights(LOSSES_T, gram(gradients_TP)), expected_T)


@config
def test_all_zero_gradients_are_no_error(config: WeightingOptions) -> None:
    method = build(config)
    weights_T = method.weights(LOSSES_T, torch.zeros(3, 3))
    assert weights_T.isfinite().all()
    assert method.needs_gram == (not weights_T.any())


@config
def test_identical_gradients_are_no_error(config: WeightingOptions) -> None:
    weights_T = build(config).weights(LOSSES_T, gram(gradients()[[0, 0, 0]]))
    assert weights_T.isfinite().all()
    assert (weights_T >= 0).all()
    assert weights_T.any()


@config
def test_opposing_gradients_are_no_error(config: WeightingOptions) -> None:
    gradients_TP = gradients()
    gradients_TP[1] = -2 * gradients_TP[0]
    weights_T = build(config).weights(LOSSES_T, gram(gradients_TP))
    assert weights_T.isfinite().all()
    assert (weights_T >= 0).all()


@config
def test_a_single_task_has_weight_one(config: WeightingOptions) -> None:
    single = build(minimal(type(config)), ("ctr",))
    for scale in (1e-6, 1.0, 1e6):
        assert single.weights(LOSSES_T[:1], torch.full((1, 1), scale)).tolist() == [1]


@config
def test_the_only_active_task_has_weight_one_unless_weights_are_absolute(config: WeightingOptions) -> None:
    method = build(config)
    weights_T = method.weights(LOSSES_T, gram(gradients()), torch.tensor([True, False, False]))
    assert weights_T[1:].tolist() == [0, 0]
    assert weights_T[0] > 0
    assert method.absolute or weights_T[0] == 1


@config
def test_state_survives_a_round_trip(config: WeightingOptions) -> None:
    grams = [gram(gradients()) for _ in range(6)]
    one, other = build(config), build(config)
    for gram_TT in grams[:3]:
        one.weights(LOSSES_T, gram_TT)
    other.load_state_dict(one.state_dict())
    for gram_TT in grams[3:]:
        assert torch.equal(other.weights(LOSSES_T, gram_TT), one.weights(LOSSES_T, gram_TT))
    assert repr(other.state_dict()) == repr(one.state_dict())


@config
def test_saved_state_is_a_copy(config: WeightingOptions) -> None:
    method, gram_TT = build(config), gram(gradients())
    saved = method.state_dict()
    before = repr(saved)
    method.weights(LOSSES_T * torch.nan, gram_TT)
    method.weights(LOSSES_T, gram_TT)
    assert repr(saved) == before


@config
def test_reset_forgets(config: WeightingOptions) -> None:
    method, gram_TT = build(config), gram(gradients())
    first_T = method.weights(LOSSES_T, gram_TT)
    for _ in range(3):
        method.weights(LOSSES_T * torch.nan, gram(gradients()))
        method.weights(LOSSES_T, gram(gradients()))
    method.reset()
    assert repr(method.state_dict()) == repr(build(config).state_dict())
    assert torch.equal(method.weights(LOSSES_T, gram_TT), first_T)


def drive(method: Weighting, losses_T: Tensor, gram_TT: Tensor, active_T: Tensor | None = None) -> Tensor:
    """One step as a trainer takes it, with everything that a method may be told around it."""
    method.observe({task: float(1 / (1 + loss)) for task, loss in zip(method.task_names, losses_T, strict=True)})
    weights_T = method.weights(losses_T, gram_TT, active_T)
    method.after_step(losses_T * gram_TT.diagonal() / (1 + gram_TT.diagonal()), active_T)
    return weights_T


def show_data(method: Weighting, order: list[int]) -> None:
    """A sample of training rows, the tasks in that order."""
    random = torch.Generator().manual_seed(1)
    x_ND, labels_NT = torch.randn(20, 6, generator=random), torch.rand(20, 3, generator=random)
    mask_NT = torch.rand(20, 3, generator=random) < 0.7
    method.observe_data(x_ND, labels_NT[:, order], mask_NT[:, order])


@config
def test_permuted_tasks_stay_permuted_whatever_the_method_is_told(config: WeightingOptions) -> None:
    order = [2, 0, 1]
    one, other = build(config), build(config, tuple(TASKS[t] for t in order))
    show_data(one, [0, 1, 2])
    show_data(other, order)
    for step in range(4):
        gram_TT, losses_T, active_T = gram(gradients()), LOSSES_T * torch.rand(3), torch.tensor([True, True, step != 1])
        expected_T = drive(one, losses_T, gram_TT, active_T)[order]
        found_T = drive(other, losses_T[order], gram_TT[order][:, order], active_T[order])
        torch.testing.assert_close(found_T, expected_T)


@config
def test_resumed_in_mid_run_it_goes_on_alike(config: WeightingOptions) -> None:
    """All that it was told before is in its state; a sample of the data is shown to a new run only."""
    one, other = build(config), build(config)
    show_data(one, [0, 1, 2])
    for step in range(8):
        if step == 4:
            other.load_state_dict(one.state_dict())
        gram_TT, losses_T = gram(gradients()), LOSSES_T * torch.rand(3)
        weights_T = drive(one, losses_T, gram_TT)
        if step >= 4:
            assert torch.equal(drive(other, losses_T, gram_TT), weights_T)
    assert repr(other.state_dict()) == repr(one.state_dict())


@config
def test_what_it_is_told_leaves_weights_finite_and_arguments_alone(config: WeightingOptions) -> None:
    method, losses_T, active_T = build(config), LOSSES_T.clone(), torch.tensor([True, True, False])
    for after_T in (losses_T * torch.nan, torch.zeros(3), losses_T * torch.inf, losses_T):
        method.observe({"ctr": float("nan"), "cvr": -3.0, "watch": 1.0})
        method.weights(losses_T, gram(gradients()), active_T)
        method.after_step(after_T, active_T)
        assert method.weights(losses_T, gram(gradients())).isfinite().all()
    assert torch.equal(losses_T, LOSSES_T)


@config
def test_foreign_state_is_refused(config: WeightingOptions) -> None:
    method = build(config)
    with pytest.raises(ValueError, match=r"`state` must be that of tasks \('ctr', 'cvr', 'watch'\)"):
        method.load_state_dict(build(minimal(type(config)), ("ctr", "buy", "watch")).state_dict())
    with pytest.raises(ValueError, match=r"`state` must hold .* got missing or unknown \['xi'\]"):
        method.load_state_dict(method.state_dict() | {"xi": torch.zeros(3)})
    with pytest.raises(ValueError, match=r"`state` 'nonfinite_steps' must have shape \[3\], got \[2\]"):
        method.load_state_dict(method.state_dict() | {"nonfinite_steps": torch.zeros(2, dtype=torch.int64)})


@config
def test_bad_arguments_are_named(config: WeightingOptions) -> None:
    method, gram_TT = build(config), gram(gradients())
    with pytest.raises(ValueError, match=r"`losses_T` must have shape \[3\]"):
        method.weights(LOSSES_T[:2], gram_TT)
    with pytest.raises(ValueError, match=r"`active_T` must have shape \[3\]"):
        method.weights(LOSSES_T, gram_TT, torch.ones(4) > 0)
    if method.needs_gram:
        with pytest.raises(ValueError, match=r"`gram_TT` must have shape \[3, 3\]"):
            method.weights(LOSSES_T, gram_TT[:2])
        with pytest.raises(ValueError, match="`gram_TT` must be given for"):
            method.weights(LOSSES_T)


@config
@pytest.mark.parametrize("task_names", [(), ("ctr", "ctr")], ids=str)
def test_tasks_must_be_unique_and_some(config: WeightingOptions, task_names: tuple[str, ...]) -> None:
    with pytest.raises(ValueError, match="`task_names` must be unique and at least one"):
        build(config, task_names)


@config
def test_heads_follow_the_method_unless_told(config: WeightingOptions) -> None:
    loss_weighting = not build(config).needs_gram or isinstance(config, GradNorm.Config)
    assert build(config).weighted_heads == loss_weighting
    for choice in (True, False):
        assert build(config.model_copy(update={"weighted_heads": choice})).weighted_heads == choice


@config
def test_config_survives_a_round_trip(config: WeightingOptions) -> None:
    adapter = TypeAdapter[WeightingConfig](WeightingConfig)
    assert adapter.validate_json(config.model_dump_json()) == config
    assert adapter.validate_python(config.model_dump()) == config


def test_a_wrong_name_lists_the_valid_ones() -> None:
    with pytest.raises(ValidationError) as error:
        TypeAdapter(WeightingConfig).validate_python({"name": "pe_ltrr"})
    for member in MEMBERS:
        assert f"'{member.model_fields['name'].default}'" in str(error.value)


@pytest.mark.parametrize("member", MEMBERS, ids=repr)
def test_an_unknown_key_is_refused(member: type[WeightingOptions]) -> None:
    section = {"name": member.model_fields["name"].default, "bound": 0.1}
    with pytest.raises(ValidationError, match=r"bound\n  Extra inputs are not permitted"):
        TypeAdapter(WeightingConfig).validate_python(section)
