"""Training that goes on from a saved state is the training that was never interrupted, bit by bit."""

from __future__ import annotations

from typing import Any

import pyarrow as pa
import pytest
import torch

from ranker.encoding import Encoder
from training.batches import Batch, encode_batch
from training.config import ExperimentConfig
from training.network import Network
from training.optimizer import dense_optimizer
from training.step import Step

pytestmark = pytest.mark.usefixtures("group")

CPU = torch.device("cpu")
BEFORE, AFTER = 5, 4  # steps; a measurement of the Gram matrix every third one falls on either side
WEIGHTINGS: dict[str, dict[str, Any]] = {
    "static": {"name": "static", "decay": 0.9},
    "uncertainty": {"name": "uncertainty"},
    "random": {"name": "random"},
    "famo": {"name": "famo"},
    "gradnorm": {"name": "gradnorm", "gram": {"every": 3, "scope": "last_shared"}},
    "pe_ltr": {"name": "pe_ltr", "gram": {"every": 3}},
    "mgda": {"name": "mgda", "gram": {"every": 3, "scope": "representation"}},
}


class Run:
    """A network and its step, as a trainer builds them."""

    def __init__(self, config: ExperimentConfig, encoder: Encoder, device: torch.device = CPU) -> None:
        self.network = Network(config, encoder, device)
        self.network.architecture.train()
        self.step = Step(
            self.network.embedding,
            self.network.architecture,
            config.build_objective(),
            config.build_weighting(),
            config.gram,
            dense_optimizer(config.training.dense, self.network.architecture),
            max_gradient_norm=config.training.dense.max_gradient_norm,
            max_bad_steps=3,
            precision=config.training.precision,
        )

    def steps(self, batches: list[Batch]) -> list[torch.Tensor]:
        """Train on each batch; losses and weights of every step."""
        on_device = [batch.to(self.network.device) for batch in batches]
        results = [self.step(batch.encoded, batch.targets) for batch in on_device]
        return [torch.cat([result.losses_T, result.weights_T]) for result in results]


@pytest.fixture
def batches(encoder: Encoder, log_table: pa.Table) -> list[Batch]:
    """Batches of which the last is smaller."""
    return [encode_batch(encoder, log_table.slice(41 * place, 41 if place < 8 else 13)) for place in range(9)]


def resumed_as_uninterrupted(settings: dict[str, Any], encoder: Encoder, batches: list[Batch]) -> None:
    """Train through; train, save, and go on in a new process's worth of objects; compare all there is."""
    settings["model"]["dropout"] = 0.3
    config = ExperimentConfig.model_validate(settings)
    assert len(batches) == BEFORE + AFTER
    torch.manual_seed(3)
    through = Run(config, encoder)
    seen = through.steps(batches)

    torch.manual_seed(3)
    first = Run(config, encoder)
    first.steps(batches[:BEFORE])
    saved = first.network.state(), first.step.state_dict(), torch.get_rng_state()
    first.steps(batches[BEFORE:])  # what was saved must not change with it

    config = config.model_copy(update={"training": config.training.model_copy(update={"seed": 99})})
    second = Run(config, encoder)  # nothing of its own beginning may remain
    second.network.load_state(saved[0])
    second.step.load_state_dict(saved[1])
    torch.set_rng_state(saved[2])
    for found, expected in zip(second.steps(batches[BEFORE:]), seen[BEFORE:], strict=True):
        assert torch.equal(found, expected)
    for name, tensor in (through.network.state() | through.step.state_dict()).items():
        assert torch.equal((second.network.state() | second.step.state_dict())[name], tensor), name


@pytest.mark.parametrize("weighting", WEIGHTINGS)
def test_with_every_kind_of_balance(
    weighting: str, settings: dict[str, Any], encoder: Encoder, batches: list[Batch]
) -> None:
    settings["weighting"] = WEIGHTINGS[weighting]
    resumed_as_uninterrupted(settings, encoder, batches)


@pytest.mark.parametrize("weighting", ["static", "pe_ltr"])
def test_with_every_architecture(
    weighting: str, of_each_model: dict[str, Any], encoder: Encoder, batches: list[Batch]
) -> None:
    of_each_model["weighting"] = WEIGHTINGS[weighting]
    resumed_as_uninterrupted(of_each_model, encoder, batches)


@pytest.mark.parametrize("tables", ["rowwise_adagrad", "sgd"])
def test_with_every_optimizer(tables: str, settings: dict[str, Any], encoder: Encoder, batches: list[Batch]) -> None:
    settings["training"]["tables"] = {"name": tables}
    settings["training"]["dense"] = {"weight_decay": 0.01, "coefficient_free_l2": True}
    resumed_as_uninterrupted(settings, encoder, batches)


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_with_plain_tables(precision: str, settings: dict[str, Any], encoder: Encoder, batches: list[Batch]) -> None:
    settings["weighting"] = WEIGHTINGS["pe_ltr"]
    settings["training"].update(precision=precision, tables={"placement": "plain"})
    resumed_as_uninterrupted(settings, encoder, batches)


def test_with_trusted_rows(settings: dict[str, Any], encoder: Encoder, log_table: pa.Table) -> None:
    settings["weighting"] = WEIGHTINGS["famo"]
    settings["training"]["clean_rows"] = {"column": "trusted", "every": 2}
    batches = [encode_batch(encoder, log_table.slice(41 * place, 41), num_clean=7) for place in range(9)]
    resumed_as_uninterrupted(settings, encoder, batches)


def test_bad_steps_are_counted_on(settings: dict[str, Any], encoder: Encoder, batches: list[Batch]) -> None:
    settings["weighting"] = WEIGHTINGS["static"]
    config = ExperimentConfig.model_validate(settings)
    run, other = Run(config, encoder), Run(config, encoder)
    labels_BT = batches[0].targets.labels_BT.clone()
    labels_BT[batches[0].targets.mask_BT[:, 2], 2] = torch.nan
    run.step(batches[0].encoded, batches[0].targets._replace(labels_BT=labels_BT))
    other.step.load_state_dict(run.step.state_dict())
    assert other.step.bad_steps_T.tolist() == [0, 0, 1]
    assert other.step.num_steps == 1


def test_state_of_other_tasks_is_refused(settings: dict[str, Any], encoder: Encoder) -> None:
    config = ExperimentConfig.model_validate(settings)
    run = Run(config, encoder)
    state = run.step.state_dict()
    with pytest.raises(ValueError, match=r"`state` must hold 'weights_T' of shape \[3\], got \[2\]"):
        run.step.load_state_dict(state | {"weights_T": torch.ones(2)})
    with pytest.raises(ValueError, match=r"must hold .num_steps. of shape .*, got none"):
        run.step.load_state_dict({})
    with pytest.raises(ValueError, match=r"got 'towers\.none\.weight', which it lacks"):
        run.step.load_state_dict(state | {"optimizer/towers.none.weight/exp_avg": torch.ones(2)})
