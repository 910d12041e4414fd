"""Gradients of single tasks: which parameters are shared, and what tasks without labels bring."""

from __future__ import annotations

import pytest
import torch

from ranker.encoding import Encoder
from ranker.losses import Targets
from training.batches import Batch
from training.config import ExperimentConfig
from training.data import Impressions
from training.diagnostics.task_gradients import task_gradients, task_losses, without_dropout
from training.network import Network

pytestmark = pytest.mark.usefixtures("group")


@pytest.fixture
def network(experiment: ExperimentConfig, fitted: Encoder) -> Network:
    return Network(experiment, fitted, torch.device("cpu"))


@pytest.fixture
def batch(impressions: Impressions, fitted: Encoder) -> Batch:
    return next(impressions.batches("train", fitted, 53, seed=1))


def test_experts_are_shared_and_gates_and_towers_are_not(network: Network, batch: Batch) -> None:
    objective = network.config.model.objective(network.config.data_schema)
    found = task_gradients(network, objective, batch.encoded, batch.targets)
    names = {id(parameter): name for name, parameter in network.architecture.named_parameters()}
    assert {names[id(parameter)].split(".")[0] for parameter in found.shared} == {"experts"}
    assert [len(gradients) for gradients in found.at_shared] == [len(found.shared)] * 3
    assert found.at_input_TBD.shape == (3, 53, network.embedding.output_dim)


def test_gradients_add_up_to_that_of_the_sum(network: Network, batch: Batch) -> None:
    objective = network.config.model.objective(network.config.data_schema)
    with without_dropout(network.architecture):
        found = task_gradients(network, objective, batch.encoded, batch.targets)
        x_BD = network.embedding(batch.encoded).detach().requires_grad_()
        terms = objective.terms(network.architecture(x_BD), batch.targets)
        total = torch.stack([part.losses_B.sum() / part.mask_B.sum() for (part,) in terms.values()]).sum()
        at_input, *at_shared = torch.autograd.grad(total, [x_BD, *found.shared])
        losses = task_losses(network, objective, batch.encoded, batch.targets)
    torch.testing.assert_close(found.at_input_TBD.sum(0), at_input)
    for parts, whole in zip(zip(*found.at_shared, strict=True), at_shared, strict=True):
        torch.testing.assert_close(torch.stack(parts).sum(0), whole)
    torch.testing.assert_close(found.losses_T.double(), losses)


def test_a_task_without_labels_is_inactive_and_has_no_gradient(network: Network, batch: Batch) -> None:
    objective = network.config.model.objective(network.config.data_schema)
    mask_BT = batch.targets.mask_BT.clone()
    mask_BT[:, 1] = False
    found = task_gradients(network, objective, batch.encoded, Targets(batch.targets.labels_BT, mask_BT))
    assert found.active_T.tolist() == [True, False, True]
    gram_TT = found.gram(network, batch.encoded)
    assert gram_TT[1].abs().sum() == gram_TT[:, 1].abs().sum() == 0
    assert (gram_TT.diagonal()[[0, 2]] > 0).all()


def test_without_dropout_is_undone(network: Network) -> None:
    with without_dropout(network.architecture):
        assert not network.architecture.training
    assert network.architecture.training
    with without_dropout(network.architecture.eval()):
        pass
    assert not network.architecture.training
