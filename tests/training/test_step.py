"""One step moves every parameter as a plain backward pass of the weighted losses would."""

from __future__ import annotations

from typing import Any

import pyarrow as pa
import pytest
import torch
from torch import Tensor, nn

from ranker.encoding import Encoder
from ranker.losses import Targets, task_losses
from ranker.models import Architecture, reached_by
from training.batches import Batch, encode_batch
from training.config import ExperimentConfig
from training.errors import DivergenceError
from training.network import Network
from training.step import Step

pytestmark = pytest.mark.usefixtures("group")

RATE = 0.5
THIRD = 1 / 3
EQUAL_BOUNDS = {"name": "pe_ltr", "bounds": THIRD, "weighted_heads": True}  # bounds that sum to 1 leave no choice
WEIGHTINGS: dict[str, tuple[dict[str, Any], int]] = {  # and the steps before the one that is looked at
    "static": ({"name": "static", "weights": THIRD}, 0),
    "by_task": ({**EQUAL_BOUNDS, "gram": {"every": 1}}, 0),
    "representation": ({**EQUAL_BOUNDS, "gram": {"every": 1, "scope": "representation"}}, 0),
    "between": ({**EQUAL_BOUNDS, "gram": {"every": 3}}, 1),
    "last_shared": ({**EQUAL_BOUNDS, "gram": {"every": 1, "scope": "last_shared"}}, 0),
    "between last_shared": ({**EQUAL_BOUNDS, "gram": {"every": 3, "scope": "last_shared"}}, 1),
}
SHARING = ("shared_bottom", "mmoe", "ple")


class Stage:
    """A network with plain SGD everywhere, so that a step moves a parameter by its gradient."""

    def __init__(self, settings: dict[str, Any], encoder: Encoder, max_bad_steps: int = 3, rate: float = RATE) -> None:
        self.rate = rate
        settings["training"]["tables"] = {"name": "sgd", "learning_rate": rate}
        self.config = ExperimentConfig.model_validate(settings)
        self.network = Network(self.config, encoder, torch.device("cpu"))
        self.kinds = tuple(task.kind for task in self.config.data_schema.tasks)
        self.step = self.build(self.network.architecture, max_bad_steps)

    def build(self, architecture: Architecture, max_bad_steps: int) -> Step:
        weighting = self.config.weighting
        return Step(
            self.network.embedding,
            architecture,
            self.config.model.objective(self.config.data_schema),
            weighting.build(self.config.data_schema.task_names),
            self.config.gram,
            torch.optim.SGD(architecture.parameters(), lr=self.rate),
            max_gradient_norm=None,
            max_bad_steps=max_bad_steps,
        )

    def expected(self, batch: Batch, weights: dict[str, float]) -> dict[str, Tensor]:
        """State after one step of plain SGD on the weighted sum of losses, through plain lookups."""
        before = self.network.state()
        graph = self.network.scoring_graph()
        tables = {
            f"tables/{name}": parameter.requires_grad_() for name, parameter in self._tables(graph, before).items()
        }
        dense = {f"architecture/{name}": p for name, p in graph.architecture.named_parameters()}
        outputs = graph(*batch.encoded.request, *batch.encoded.item, torch.arange(batch.num_rows))
        losses_T, _ = task_losses(outputs, *batch.targets[:2], self.kinds)
        loss = sum(weights[task] * loss for task, loss in zip(outputs, losses_T, strict=True))
        assert isinstance(loss, Tensor)
        loss.backward()
        moved = {**tables, **dense}
        gradients = {name: parameter.grad for name, parameter in moved.items() if parameter.grad is not None}
        return {name: before[name] - RATE * gradients.get(name, torch.zeros(())) for name in before}

    @staticmethod
    def _tables(graph: nn.Module, state: dict[str, Tensor]) -> dict[str, nn.Parameter]:
        found = {}
        for parameter in graph.parameters():
            for name, value in state.items():
                if name.startswith("tables/") and value.shape == parameter.shape and torch.equal(value, parameter):
                    found[name.removeprefix("tables/")] = parameter
        return found


@pytest.fixture
def batch(encoder: Encoder, log_table: pa.Table) -> Batch:
    return encode_batch(encoder, log_table.slice(3, 61))


def assert_same_state(found: dict[str, Tensor], expected: dict[str, Tensor]) -> None:
    assert found.keys() == expected.keys()
    for name, tensor in expected.items():
        torch.testing.assert_close(found[name], tensor, rtol=1e-5, atol=1e-6, msg=name)


@pytest.mark.parametrize(
    ("weighting", "model"),
    [(weighting, model) for weighting in WEIGHTINGS for model in SHARING]
    + [(weighting, "single_task") for weighting in WEIGHTINGS if "last_shared" not in weighting],
)
def test_equal_weights_are_a_plain_backward_pass(
    weighting: str, model: str, settings: dict[str, Any], encoder: Encoder, batch: Batch
) -> None:
    settings["weighting"], steps_before = WEIGHTINGS[weighting]
    settings["model"] = {"name": model}
    stage = Stage(settings, encoder)
    for _ in range(steps_before):
        stage.step(batch.encoded, batch.targets)
    expected = stage.expected(batch, dict.fromkeys(stage.config.data_schema.task_names, THIRD))
    before = stage.network.state()
    result = stage.step(batch.encoded, batch.targets)
    assert result.weights_T.tolist() == pytest.approx([THIRD] * 3)
    assert result.active_T.all()
    found = stage.network.state()
    assert_same_state(found, expected)
    for name, tensor in found.items():
        assert not torch.equal(tensor, before[name]), f"{name} did not move"


@pytest.mark.parametrize("every", [1, 3])
def test_heads_train_on_their_own_loss(every: int, settings: dict[str, Any], encoder: Encoder, batch: Batch) -> None:
    settings["weighting"] = {"name": "pe_ltr", "bounds": THIRD, "gram": {"every": every}}
    stage = Stage(settings, encoder)
    if every > 1:
        stage.step(batch.encoded, batch.targets)
    reached = reached_by(stage.network.architecture, torch.zeros(2, stage.network.embedding.width))
    weighted = stage.expected(batch, dict.fromkeys(stage.config.data_schema.task_names, THIRD))
    own = stage.expected(batch, dict.fromkeys(stage.config.data_schema.task_names, 1.0))
    stage.step(batch.encoded, batch.targets)
    heads = {f"architecture/{name}" for name, tasks in reached.items() if len(tasks) == 1}
    assert heads
    assert_same_state(stage.network.state(), {name: (own if name in heads else weighted)[name] for name in weighted})


@pytest.mark.parametrize("weighting", ["static", "by_task"])
def test_task_without_labels_is_inactive(
    weighting: str, settings: dict[str, Any], encoder: Encoder, batch: Batch
) -> None:
    settings["weighting"] = WEIGHTINGS[weighting][0]
    stage = Stage(settings, encoder)
    mask_BT = batch.targets.mask_BT.clone()
    mask_BT[:, 2] = False
    before = stage.network.state()
    result = stage.step(batch.encoded, Targets(batch.targets.labels_BT, mask_BT))
    assert result.active_T.tolist() == [True, True, False]
    after = stage.network.state()
    reached = reached_by(stage.network.architecture, torch.zeros(2, stage.network.embedding.width))
    for name, tasks in reached.items():
        assert torch.equal(before[f"architecture/{name}"], after[f"architecture/{name}"]) == (tasks == ("spend",)), name


@pytest.mark.parametrize("weighting", ["static", "by_task"])
def test_batch_without_any_label_changes_nothing(
    weighting: str, settings: dict[str, Any], encoder: Encoder, batch: Batch
) -> None:
    settings["weighting"] = WEIGHTINGS[weighting][0]
    stage = Stage(settings, encoder)
    before = stage.network.state()
    result = stage.step(batch.encoded, Targets(batch.targets.labels_BT, torch.zeros_like(batch.targets.mask_BT)))
    assert not result.active_T.any()
    assert all(torch.equal(tensor, before[name]) for name, tensor in stage.network.state().items())


def spoilt(batch: Batch, rows: list[int], value: float) -> Targets:
    """The spend of some rows is no number."""
    labels_BT, mask_BT = batch.targets.labels_BT.clone(), batch.targets.mask_BT.clone()
    labels_BT[rows, 2], mask_BT[rows, 2] = value, True
    return Targets(labels_BT, mask_BT)


@pytest.mark.parametrize("value", [float("nan"), float("inf"), 1e30])
@pytest.mark.parametrize("weighting", WEIGHTINGS)
def test_non_finite_loss_leaves_its_task_out(
    weighting: str, value: float, settings: dict[str, Any], encoder: Encoder, batch: Batch
) -> None:
    settings["weighting"] = WEIGHTINGS[weighting][0]
    bad, good = Stage(settings, encoder), Stage(settings, encoder)
    result = bad.step(batch.encoded, spoilt(batch, [7, 11], value))
    without = batch.targets.mask_BT.clone()
    without[:, 2] = False
    good.step(batch.encoded, Targets(batch.targets.labels_BT, without))
    assert result.active_T.tolist() == [True, True, False]
    assert_same_state(bad.network.state(), good.network.state())


def test_loss_that_stays_non_finite_ends_training(settings: dict[str, Any], encoder: Encoder, batch: Batch) -> None:
    stage = Stage(settings, encoder, max_bad_steps=3)
    stage.step(batch.encoded, spoilt(batch, [7], float("nan")))
    stage.step(batch.encoded, batch.targets)  # a good step starts the count again
    no_spend = Targets(batch.targets.labels_BT, batch.targets.mask_BT & torch.tensor([True, True, False]))
    for targets in (spoilt(batch, [7], float("nan")), no_spend, spoilt(batch, [5], float("nan")), no_spend):
        stage.step(batch.encoded, targets)
    with pytest.raises(
        DivergenceError, match=r"task 'spend'.* 3 steps on end, last at step 6, rows \[7, 11\]"
    ) as caught:
        stage.step(batch.encoded, spoilt(batch, [7, 11], float("nan")))
    assert caught.value.rows == (7, 11)
    assert "training.dense.learning_rate" in str(caught.value)
    assert all(tensor.isfinite().all() for tensor in stage.network.state().values())


class InfiniteGradient(Architecture):
    """The logit of `spend` is finite, its gradient is not."""

    def __init__(self, width: int) -> None:
        super().__init__(("ctr", "cvr", "spend"))
        self.shared = nn.Linear(width, 3)
        self.zero = nn.Parameter(torch.zeros(()))

    def forward(self, x_BD: Tensor) -> dict[str, Tensor]:
        ctr_B, cvr_B, spend_B = self.shared(x_BD).unbind(1)
        return {"ctr": ctr_B + self.zero, "cvr": cvr_B, "spend": spend_B + self.zero.abs().sqrt()}

    def last_shared_parameters(self) -> list[nn.Parameter]:
        """The parameter that is to blame is one of them."""
        return [*self.shared.parameters(), self.zero]


@pytest.mark.parametrize(("weighting", "others_move"), [("static", False), ("by_task", True), ("last_shared", True)])
def test_non_finite_gradient_reaches_nothing(
    weighting: str, others_move: bool, settings: dict[str, Any], encoder: Encoder, batch: Batch
) -> None:
    settings["weighting"] = WEIGHTINGS[weighting][0]
    stage = Stage(settings, encoder)
    architecture = InfiniteGradient(stage.network.embedding.width)
    step = stage.build(architecture, max_bad_steps=2)
    before = stage.network.state()
    result = step(batch.encoded, batch.targets)
    after = stage.network.state()
    assert result.active_T.tolist() == [others_move, others_move, False]
    assert all(tensor.isfinite().all() for tensor in [*after.values(), *architecture.state_dict().values()])
    assert torch.equal(before["tables/items"], after["tables/items"]) != others_move
    with torch.no_grad():
        architecture.zero.zero_()
    with pytest.raises(DivergenceError, match="not finite for 2 steps on end, last at step 1"):
        step(batch.encoded, batch.targets)


class Standoff(Architecture):
    """All tasks read one score, which is 0 at first; what each adds to it is its own."""

    def __init__(self, width: int) -> None:
        super().__init__(("ctr", "cvr", "spend"))
        self.shared = nn.Linear(width, 1)
        nn.init.zeros_(self.shared.weight)
        nn.init.zeros_(self.shared.bias)
        self.own = nn.ParameterDict({task: nn.Parameter(torch.zeros(())) for task in self.task_names})

    def forward(self, x_BD: Tensor) -> dict[str, Tensor]:
        score_B = self.shared(x_BD)[:, 0]
        return {task: score_B + offset for task, offset in self.own.items()}


@pytest.mark.parametrize("every", [1, 2])
@pytest.mark.parametrize("name", ["mgda", "pcgrad", "upgrad"])
def test_where_nothing_helps_all_only_heads_train(
    name: str, every: int, settings: dict[str, Any], encoder: Encoder, batch: Batch
) -> None:
    settings["weighting"] = {"name": name, "scale": "norm", "gram": {"every": every}}
    stage = Stage(settings, encoder)
    architecture = Standoff(stage.network.embedding.width)
    step = stage.build(architecture, max_bad_steps=2)
    clicked_B = (torch.arange(len(batch.targets.labels_BT)) % 3 == 0).float()
    labels_BT = torch.stack([clicked_B, 1 - clicked_B, clicked_B], dim=1)  # what helps one hurts the other
    mask_BT = torch.tensor([True, True, False]).expand(labels_BT.shape)
    before = stage.network.state()
    for _ in range(every):  # until the next measurement
        result = step(batch.encoded, Targets(labels_BT, mask_BT))
        assert result.weights_T.tolist() == [0, 0, 0]
        assert result.active_T.tolist() == [True, True, False]
    assert step.weighting.state["pareto_stationary_steps"] == 1
    assert all(torch.equal(tensor, before[key]) for key, tensor in stage.network.state().items() if "tables" in key)
    assert not architecture.shared.weight.any()
    assert not architecture.shared.bias.any()
    assert architecture.own["ctr"] < 0 < architecture.own["cvr"]
    assert architecture.own["spend"] == 0


def test_dense_gradient_is_clipped(settings: dict[str, Any], encoder: Encoder, batch: Batch) -> None:
    stage = Stage(settings, encoder)
    stage.step.max_gradient_norm = 0.01
    before = stage.network.state()
    stage.step(batch.encoded, batch.targets)
    moved = [
        (tensor - before[name]).flatten()
        for name, tensor in stage.network.state().items()
        if name.startswith("architecture/")
    ]
    assert float(torch.cat(moved).norm()) == pytest.approx(0.01 * RATE, rel=1e-3)


def test_nobody_left_at_the_last_shared_layer_changes_nothing(
    settings: dict[str, Any], encoder: Encoder, batch: Batch
) -> None:
    settings["weighting"] = WEIGHTINGS["last_shared"][0]
    stage = Stage(settings, encoder)
    step = stage.build(InfiniteGradient(stage.network.embedding.width), max_bad_steps=2)
    only_spend = Targets(batch.targets.labels_BT, batch.targets.mask_BT & torch.tensor([False, False, True]))
    before = stage.network.state()
    assert not step(batch.encoded, only_spend).active_T.any()
    assert all(torch.equal(tensor, before[name]) for name, tensor in stage.network.state().items())


@pytest.mark.parametrize("model", SHARING)
def test_gram_of_the_last_shared_layer_is_that_of_autograd(
    model: str, settings: dict[str, Any], encoder: Encoder, batch: Batch, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings.update(model={"name": model}, weighting={"name": "gradnorm"})
    stage = Stage(settings, encoder)
    architecture = stage.network.architecture
    outputs = architecture(stage.network.embedding(batch.encoded))
    losses_T, _ = task_losses(outputs, *batch.targets[:2], stage.kinds)
    last = {"shared_bottom": "bottom.layers.3", "mmoe": "experts.deeper.0", "ple": "levels.1.shared"}[model]
    layer = [parameter for name, parameter in architecture.named_parameters() if name.startswith(last)]
    assert len(layer) == 2
    rows = [torch.autograd.grad(loss, layer, retain_graph=True) for loss in losses_T]
    jacobian_TP = torch.stack([torch.cat([part.flatten() for part in row]) for row in rows]).double()
    assert stage.step.average is not None
    update, seen = stage.step.average.update, []

    def record(gram_TT: Tensor, active_T: Tensor) -> Tensor:
        seen.append(gram_TT)
        return update(gram_TT, active_T)

    monkeypatch.setattr(stage.step.average, "update", record)
    stage.step(batch.encoded, batch.targets)
    torch.testing.assert_close(seen[0], jacobian_TP @ jacobian_TP.T, rtol=1e-5, atol=0)


class Witness:
    """Takes the place of `after_step`, and keeps what it was told."""

    def __init__(self, step: Step) -> None:
        self.losses: list[Tensor] = []
        self.active: list[Tensor | None] = []
        step.weighting.after_step = self  # type: ignore[method-assign]

    def __call__(self, losses_T: Tensor, active_T: Tensor | None = None) -> None:
        self.losses.append(losses_T)
        self.active.append(active_T)


def test_losses_after_the_step_are_those_of_the_moved_network(
    settings: dict[str, Any], encoder: Encoder, batch: Batch
) -> None:
    settings["weighting"] = {"name": "famo"}
    stage = Stage(settings, encoder)
    witness = Witness(stage.step)
    without = Targets(batch.targets.labels_BT, batch.targets.mask_BT & torch.tensor([True, False, True]))
    result = stage.step(batch.encoded, without)
    outputs = stage.network.predict(batch.encoded)
    expected_T, _ = task_losses(outputs, *without[:2], stage.kinds)
    assert len(witness.losses) == 1
    torch.testing.assert_close(witness.losses[0], expected_T)
    assert not torch.isclose(witness.losses[0], result.losses_T)[[0, 2]].any()
    assert witness.active[0] is not None
    assert witness.active[0].tolist() == [True, False, True]


def test_losses_after_the_step_see_the_same_dropout(settings: dict[str, Any], encoder: Encoder, batch: Batch) -> None:
    """Nothing moves at this rate, so that any difference would be the noise of another mask."""
    settings["weighting"], settings["model"]["dropout"] = {"name": "famo"}, 0.5
    stage = Stage(settings, encoder, rate=1e-30)
    witness = Witness(stage.step)
    first, second = stage.step(batch.encoded, batch.targets), stage.step(batch.encoded, batch.targets)
    assert torch.equal(witness.losses[0], first.losses_T)
    assert torch.equal(witness.losses[1], second.losses_T)
    assert not torch.equal(first.losses_T, second.losses_T)  # from step to step masks differ


def test_a_step_that_was_not_taken_is_not_looked_back_on(
    settings: dict[str, Any], encoder: Encoder, batch: Batch
) -> None:
    settings["weighting"] = {"name": "famo"}
    stage = Stage(settings, encoder)
    witness = Witness(stage.step)
    nothing = Targets(batch.targets.labels_BT, torch.zeros_like(batch.targets.mask_BT))
    stage.step(batch.encoded, nothing)
    assert witness.losses == []
    step = stage.build(InfiniteGradient(stage.network.embedding.width), max_bad_steps=2)
    witness = Witness(step)
    step(batch.encoded, batch.targets)
    assert witness.losses == []
