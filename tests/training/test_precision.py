"""Low precision is for products alone: training goes the same way, and what decides stays float32."""

from __future__ import annotations

import typing
from typing import Any

import pyarrow as pa
import pytest
import torch

from ranker.encoding import Encoder
from ranker.weighting import WeightingConfig
from ranker.weighting.base import WeightingOptions
from tests.training.test_step_state import Run
from training.batches import Batch, encode_batch
from training.config import ExperimentConfig
from training.precision import products_in, resolve

pytestmark = pytest.mark.usefixtures("group")

CPU = torch.device("cpu")
MEMBERS = typing.get_args(typing.get_args(WeightingConfig)[0])
NUM_STEPS = 6


@pytest.fixture
def batch(encoder: Encoder, log_table: pa.Table) -> Batch:
    return encode_batch(encoder, log_table.slice(0, 67))


def trained(settings: dict[str, Any], encoder: Encoder, batch: Batch, precision: str) -> tuple[Run, torch.Tensor]:
    """A run after some steps on one batch, and the losses that it saw, [steps, T]."""
    settings["training"]["precision"] = precision
    run = Run(ExperimentConfig.model_validate(settings), encoder)
    torch.manual_seed(1)
    results = [run.step(batch.encoded, batch.targets) for _ in range(NUM_STEPS)]
    assert all(result.active_T.all() for result in results)
    return run, torch.stack([result.losses_T for result in results])


def assert_trains_alike(settings: dict[str, Any], encoder: Encoder, batch: Batch) -> None:
    """In bfloat16 all weights move, and losses are those of float32 up to what its 8 bits allow."""
    _, exact = trained(settings, encoder, batch, "fp32")
    before = Run(ExperimentConfig.model_validate(settings), encoder).network.state()
    run, found = trained(settings, encoder, batch, "bf16")
    assert run.step.precision == "bf16"
    assert not torch.equal(found, exact)  # or nothing was computed in bfloat16
    torch.testing.assert_close(found[0], exact[0], rtol=0.02, atol=0.01)
    torch.testing.assert_close(found, exact, rtol=0.2, atol=0.02)  # small differences grow from step to step
    for name, tensor in run.network.state().items():
        assert tensor.dtype == before[name].dtype
        assert tensor.isfinite().all(), name
        assert not torch.equal(tensor, before[name]), f"{name} did not move"


def test_every_architecture(of_each_model: dict[str, Any], encoder: Encoder, batch: Batch) -> None:
    assert_trains_alike(of_each_model, encoder, batch)


@pytest.mark.parametrize("member", MEMBERS, ids=lambda member: member.model_fields["name"].default)
def test_every_balance(
    member: type[WeightingOptions], settings: dict[str, Any], encoder: Encoder, batch: Batch
) -> None:
    settings["weighting"] = {"name": member.model_fields["name"].default}
    if "target" in member.model_fields:
        settings["weighting"]["target"] = "ctr"
    settings["model"] = {"name": "ple", "expert_dims": [[13], [9]], "tower_dims": [7]}
    assert_trains_alike(settings, encoder, batch)


@pytest.mark.parametrize("scope", ["exact", "representation", "last_shared"])
def test_every_gram(scope: str, settings: dict[str, Any], encoder: Encoder, batch: Batch) -> None:
    settings["weighting"] = {"name": "pe_ltr", "gram": {"scope": scope, "every": 2}}
    assert_trains_alike(settings, encoder, batch)


def test_logits_and_gradients_stay_float32(of_each_model: dict[str, Any], encoder: Encoder, batch: Batch) -> None:
    run = Run(ExperimentConfig.model_validate(of_each_model), encoder)
    x_BD = run.network.embedding(batch.encoded).detach().requires_grad_()
    with products_in("bf16", CPU):
        outputs = run.network.architecture.training_outputs(x_BD)
    assert {output_B.dtype for output_B in outputs.values()} == {torch.float32}
    gradients = torch.autograd.grad(sum(outputs.values()).sum(), [x_BD, *run.network.architecture.parameters()])  # type: ignore[union-attr]
    assert {gradient.dtype for gradient in gradients} == {torch.float32}


def test_prediction_does_not_depend_on_the_precision_of_training(
    settings: dict[str, Any], encoder: Encoder, batch: Batch
) -> None:
    run, _ = trained(settings, encoder, batch, "bf16")
    settings["training"]["precision"] = "fp32"
    other = Run(ExperimentConfig.model_validate(settings), encoder)
    other.network.load_state(run.network.state())
    for task, expected_B in other.network.predict(batch.encoded).items():
        assert torch.equal(run.network.predict(batch.encoded)[task], expected_B)


@pytest.mark.parametrize(
    ("capabilities", "expected"),
    [({}, "fp32"), ({"avx512_f": True}, "fp32"), ({"avx512_bf16": True}, "bf16"), ({"amx_bf16": True}, "bf16")],
)
def test_auto_is_what_the_processor_multiplies_natively(
    capabilities: dict[str, bool], expected: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: capabilities)
    assert resolve("auto", CPU) == expected
    assert resolve("fp32", CPU) == "fp32"
    assert resolve("bf16", CPU) == "bf16"
