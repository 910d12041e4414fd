"""A step that is tried moves what tasks share and nothing else, has the effect that the Gram tells, and is undone."""

from __future__ import annotations

from copy import deepcopy
from typing import Any

import pytest
import torch
from torch import Tensor

from ranker.encoding import Encoder
from training.batches import Batch
from training.config import ExperimentConfig
from training.data import Impressions
from training.diagnostics.lookahead import losses_after_each, restored
from training.diagnostics.task_gradients import TaskGradients, task_gradients, task_losses, without_dropout
from training.progress import Progress
from training.trainer import Trainer

Settings = dict[str, Any]

pytestmark = pytest.mark.usefixtures("group")


class Tried:
    """A network and a batch, ready for a step of every task."""

    def __init__(self, content: Settings, impressions: Impressions, encoder: Encoder) -> None:
        config = ExperimentConfig.model_validate(content)
        self.trainer = Trainer(config, impressions, encoder, Progress(quiet=True))
        self.network, self.step = self.trainer.network, self.trainer.step
        self.batch: Batch = next(impressions.batches("train", encoder, 61, seed=2))
        self.held_out = (self.batch.encoded, self.batch.targets)

    def look(self) -> tuple[TaskGradients, Tensor, Tensor]:
        """Gradients, losses before, and losses after a step of each task."""
        with without_dropout(self.network.architecture):
            gradients = task_gradients(self.network, self.step.objective, *self.held_out)
            before_T = task_losses(self.network, self.step.objective, *self.held_out)
            after_TT = losses_after_each(self.network, self.step, self.batch.encoded, gradients, self.held_out)
        return gradients, before_T, after_TT


@pytest.fixture
def tried(quick: Settings, impressions: Impressions, fitted: Encoder) -> Tried:
    return Tried(quick, impressions, fitted)


def optimizer_state(tried: Tried) -> list[Tensor]:
    state = tried.step.optimizer.state_dict()["state"]
    return [value.clone() for entry in state.values() for value in entry.values() if isinstance(value, Tensor)]


def test_everything_is_put_back(tried: Tried) -> None:
    for _ in range(2):  # fresh optimizers, then such that have a memory
        weights, memory = tried.network.state(), optimizer_state(tried)
        _, before_T, after_TT = tried.look()
        assert (after_TT != before_T).all()
        torch.testing.assert_close(tried.network.state(), weights, rtol=0, atol=0)
        torch.testing.assert_close(optimizer_state(tried), memory, rtol=0, atol=0)
        assert all(parameter.grad is None for parameter in tried.network.architecture.parameters())
        tried.step(tried.batch.encoded, tried.batch.targets)


def test_a_small_plain_step_does_what_the_gram_says(quick: Settings, impressions: Impressions, fitted: Encoder) -> None:
    rate = 1e-3
    content = deepcopy(quick)
    content["training"] |= {"tables": {"name": "sgd", "learning_rate": rate}, "dense": {"max_gradient_norm": None}}
    tried = Tried(content, impressions, fitted)
    tried.step.optimizer = torch.optim.SGD(tried.network.architecture.parameters(), lr=rate)
    gradients, before_T, after_TT = tried.look()
    gram_TT = gradients.gram(tried.network, tried.batch.encoded)
    torch.testing.assert_close((before_T - after_TT) / rate, gram_TT, rtol=0.03, atol=0.03 * float(gram_TT.abs().max()))


def test_own_parameters_stay_and_shared_ones_move(tried: Tried, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[dict[str, Tensor]] = []

    def keep(*arguments: Any) -> Tensor:
        seen.append(tried.network.state())
        return task_losses(*arguments)

    monkeypatch.setattr("training.diagnostics.lookahead.task_losses", keep)
    at_first = tried.network.state()
    tried.look()
    assert len(seen) == 3
    for state in seen:
        moved = {name for name, tensor in state.items() if not torch.equal(tensor, at_first[name])}
        assert {name.split(".")[0] for name in moved if name.startswith("architecture/")} == {"architecture/experts"}
        assert any(name.startswith("tables/") for name in moved)


def train_and_fail(tried: Tried) -> None:
    tried.step(tried.batch.encoded, tried.batch.targets)
    raise KeyError


def test_restored_also_after_an_error(tried: Tried) -> None:
    at_first = tried.network.state()
    with pytest.raises(KeyError), restored(tried.network, tried.step.optimizer):
        train_and_fail(tried)
    torch.testing.assert_close(tried.network.state(), at_first, rtol=0, atol=0)
