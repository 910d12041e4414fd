"""Training keeps the best epoch, is the same twice, and says what it did."""

from __future__ import annotations

import math
import typing
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from rich.console import Console
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from torch import Tensor

from ranker.encoding import Encoder
from ranker.serving_graph.tables import tables_of
from ranker.weighting import WeightingConfig, WeightingOptions
from training.batches import encode_batch
from training.config import ExperimentConfig
from training.data import Impressions
from training.errors import DivergenceError
from training.history import Epoch
from training.network import Network
from training.progress import Progress
from training.run import RunResult
from training.trainer import Trainer

Settings = dict[str, Any]


class Watch(Progress):
    """Keeps the state after every epoch."""

    def __init__(self) -> None:
        super().__init__(quiet=True)
        self.trainer: Trainer | None = None
        self.states: list[dict[str, Tensor]] = []
        self.best: list[bool] = []

    def epoch(self, epoch: Epoch, best: bool) -> None:
        assert self.trainer is not None
        self.states.append(self.trainer.network.state())
        self.best.append(best)


def build(settings: Settings, data: Path, encoder: Encoder | None = None, curves: Path | None = None) -> Trainer:
    config = ExperimentConfig.model_validate(settings)
    impressions = Impressions(data, config)
    watch = Watch()
    encoder = encoder or Encoder.fit(config.data_schema, impressions.rows("train"))
    watch.trainer = Trainer(config, impressions, encoder, watch, curves)
    return watch.trainer


@pytest.mark.usefixtures("group")
def test_two_runs_are_the_same(settings: Settings, log_file: Path, encoder: Encoder) -> None:
    settings["model"]["dropout"] = 0.3
    settings["training"]["epochs"] = 2
    settings["weighting"] = {"name": "pe_ltr", "gram": {"every": 3}}
    trainers = [build(settings, log_file, encoder) for _ in range(2)]
    histories = []
    for trainer in trainers:
        torch.manual_seed(settings["training"]["seed"])  # as it is when a run of its own has built its network
        histories.append(trainer.fit(490))
    first, second = (trainer.network.state() for trainer in trainers)
    for name, tensor in first.items():
        assert torch.equal(tensor, second[name]), name
    assert [epoch.losses for epoch in histories[0].epochs] == [epoch.losses for epoch in histories[1].epochs]


@pytest.mark.usefixtures("group")
def test_best_epoch_wins_and_patience_ends(
    settings: Settings, log_file: Path, encoder: Encoder, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings["training"].update(epochs=9, early_stopping={"patience": 2})
    trainer = build(settings, log_file, encoder)
    selections = iter([0.5, 0.7, 0.7, 0.6, 0.9])
    monkeypatch.setattr(trainer, "_selection", lambda *_: next(selections))
    history = trainer.fit(490)
    watch = trainer.progress
    assert isinstance(watch, Watch)
    assert [epoch.number for epoch in history.epochs] == [1, 2, 3, 4]
    assert history.best == 2
    assert watch.best == [True, True, False, False]
    for name, tensor in trainer.network.state().items():
        assert torch.equal(tensor, watch.states[1][name]), name
    assert not torch.equal(watch.states[1]["tables/items"], watch.states[3]["tables/items"])


def test_every_table_of_a_trained_model_has_moved(
    trained: RunResult, config: ExperimentConfig, encoder: Encoder, group: None
) -> None:
    assert trained.bundle is not None
    fresh = Network(config, encoder, torch.device("cpu")).scoring_graph().tables
    last = tables_of(trained.bundle.model)
    assert set(last) == set(fresh) == {"city", "items", "age", "tags"}
    for name, weight in fresh.items():
        assert last[name].shape == weight.shape
        assert not torch.equal(last[name], weight), f"{name} did not move"


def test_training_learns(trained: RunResult) -> None:
    first, last = trained.history.epochs[0], trained.history.epochs[-1]
    assert trained.history.best == len(trained.history.epochs) == 3
    assert all(last.losses[task] < first.losses[task] for task in ("ctr", "spend"))
    auc, mse = trained.report["ctr"].auc, trained.report["spend"].mse
    assert auc is not None
    assert auc > 0.6
    assert mse is not None
    assert math.isfinite(mse)


def test_history(trained: RunResult, config: ExperimentConfig) -> None:
    for number, epoch in enumerate(trained.history.epochs, start=1):
        assert epoch.number == number
        assert set(epoch.losses) == set(epoch.weights) == set(config.data_schema.task_names)
        assert epoch.weights == dict.fromkeys(epoch.weights, 1.0)
        assert {"ctr/auc", "ctcvr/auc", "spend/mse"} <= set(epoch.valid)
        assert epoch.rows_per_second > 0
        assert 0 < epoch.wait_share < 1
    assert trained.history.to_dict()["best_epoch"] == trained.history.best


@pytest.mark.usefixtures("group")
def test_selection_is_the_mean_over_the_chosen_tasks(settings: Settings, log_file: Path, encoder: Encoder) -> None:
    settings["training"].update(epochs=1, early_stopping={"tasks": ["ctr"]})
    epoch = build(settings, log_file, encoder).fit(490).epochs[0]
    assert epoch.selection == epoch.valid["ctr/auc"]
    settings["training"]["early_stopping"] = {"tasks": ["ctr", "spend"]}
    trainer = build(settings, log_file, encoder)
    both = trainer.fit(490).epochs[0]
    explained = 1 - both.valid["spend/mse"] / trainer.predict("valid").label_variance("spend")
    assert both.selection == pytest.approx((both.valid["ctr/auc"] + explained) / 2)


def kpis_of(trainer: Trainer, epoch: Epoch) -> list[float]:
    """What has been learnt of each task: 2 AUC - 1, or R2."""
    variance = trainer.predict("valid").label_variance("spend")
    auc = [2 * epoch.valid[f"{task}/auc"] - 1 for task in ("ctr", "cvr")]
    return [*auc, 1 - epoch.valid["spend/mse"] / variance]


@pytest.mark.usefixtures("group")
def test_weighting_sees_the_quality_of_every_validation(settings: Settings, log_file: Path, encoder: Encoder) -> None:
    settings["training"].update(epochs=3)
    settings["weighting"] = {"name": "dtp", "smoothing": 0.3, "least": 0.02}
    trainer = build(settings, log_file, encoder)
    epochs = trainer.fit(490).epochs
    average = None
    for number, epoch in enumerate(epochs, start=1):
        new = np.maximum(kpis_of(trainer, epoch), 0.02)
        average = new if average is None else 0.3 * new + 0.7 * average
        kpi = average.clip(0.02, 0.98)
        for after in epochs[number : number + 1]:
            assert list(after.weights.values()) == pytest.approx(-(1 - kpi) * np.log(kpi))
    assert trainer.step.weighting.state["kpis_T"].tolist() == pytest.approx(average)
    assert epochs[0].weights == dict.fromkeys(trainer.tasks, 1.0)


@pytest.mark.usefixtures("group")
@pytest.mark.parametrize(("wanted", "seen"), [(100, 100), (5000, 490)])
def test_weighting_sees_a_sample_of_the_training_rows(
    wanted: int, seen: int, settings: Settings, log_file: Path, encoder: Encoder, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings["training"].update(epochs=1)
    settings["weighting"] = {"name": "svd", "rank": 2, "sample_rows": wanted, "sum_k": True}
    trainer = build(settings, log_file, encoder)
    batch = encode_batch(encoder, pa.Table.from_batches(list(trainer.impressions.rows("train"))))
    x_BD = trainer.network.embedding(batch.to(trainer.device).encoded).detach().cpu()
    everything = np.hstack([x_BD.numpy(), batch.targets.mask_BT.numpy()])
    known = {row.tobytes() for row in everything.astype(np.float32)}
    told: list[tuple[Tensor, Tensor, Tensor]] = []
    observe_data = trainer.step.weighting.observe_data

    def record(*sample: Tensor) -> None:
        told.append(sample)  # type: ignore[arg-type]
        observe_data(*sample)

    monkeypatch.setattr(trainer.step.weighting, "observe_data", record)
    epoch = trainer.fit(490).epochs[0]
    x_ND, labels_NT, mask_NT = (tensor.cpu() for sample in told for tensor in sample)
    assert x_ND.shape == (seen, trainer.network.embedding.width)
    assert mask_NT.dtype == torch.bool
    rows = np.hstack([x_ND.numpy(), mask_NT.numpy()]).astype(np.float32)
    assert {row.tobytes() for row in rows} <= known
    assert labels_NT[mask_NT].isfinite().all()
    assert len({row.tobytes() for row in rows}) > 0.9 * seen
    weights_T = trainer.step.weighting.state["weights_T"]
    assert list(epoch.weights.values()) == pytest.approx(weights_T.tolist())
    assert weights_T.std() > 0


@pytest.mark.usefixtures("group")
def test_weighting_sees_what_each_step_did(settings: Settings, log_file: Path, encoder: Encoder) -> None:
    settings["training"].update(epochs=2)
    settings["weighting"] = {"name": "famo"}
    trainer = build(settings, log_file, encoder)
    epochs = trainer.fit(490).epochs
    state = trainer.step.weighting.state
    assert state["adam_steps_T"].tolist() == [16, 16, 16]
    assert state["logits_T"].std() > 0
    assert epochs[1].losses["ctr"] < epochs[0].losses["ctr"]


@pytest.mark.usefixtures("group")
@pytest.mark.parametrize("member", typing.get_args(typing.get_args(WeightingConfig)[0]), ids=repr)
def test_every_weighting_trains(
    member: type[WeightingOptions], settings: Settings, log_file: Path, encoder: Encoder
) -> None:
    settings["training"].update(epochs=1, batch_size=245)
    settings["weighting"] = {"name": member.model_fields["name"].default}
    if "target" in member.model_fields:
        settings["weighting"]["target"] = "ctr"
    trainer = build(settings, log_file, encoder)
    before = trainer.network.state()
    epoch = trainer.fit(490).epochs[0]
    assert all(math.isfinite(loss) for loss in epoch.losses.values())
    assert any(weight > 0 for weight in epoch.weights.values())
    assert all(tensor.isfinite().all() for tensor in trainer.network.state().values())
    assert not torch.equal(trainer.network.state()["tables/items"], before["tables/items"])


@pytest.mark.usefixtures("group")
def test_curves_are_written(settings: Settings, log_file: Path, encoder: Encoder, tmp_path: Path) -> None:
    settings["training"].update(epochs=3)
    build(settings, log_file, encoder, tmp_path / "curves").fit(490)
    events = EventAccumulator(str(tmp_path / "curves")).Reload()
    tags = set(events.Tags()["scalars"])
    assert {"train/loss/ctr", "train/weight/spend", "valid/ctr/auc", "valid/ctcvr/log_loss"} <= tags
    assert [event.step for event in events.Scalars("valid/ctr/auc")] == [8, 16, 24]


@pytest.mark.usefixtures("group")
def test_task_without_labels_in_most_batches(
    settings: Settings, log_table: pa.Table, tmp_path: Path, encoder: Encoder
) -> None:
    """Only few rows have a spend: the task sits out the other steps, and its mean loss is over its own."""
    spend = [value if place >= 490 or place < 3 else None for place, value in enumerate(log_table["spend"].to_pylist())]
    spend[0] = 1.0
    column = log_table.column_names.index("spend")
    pq.write_table(log_table.set_column(column, "spend", pa.array(spend)), tmp_path / "log.parquet")
    settings["training"].update(epochs=1, batch_size=32)
    epoch = build(settings, tmp_path / "log.parquet", encoder).fit(490).epochs[0]
    assert epoch.weights["spend"] == 1.0
    assert 0 < epoch.losses["spend"] < 20


@pytest.mark.usefixtures("group")
def test_divergence_names_the_rows_by_their_ids(settings: Settings, log_file: Path, encoder: Encoder) -> None:
    settings["training"]["max_bad_steps"] = 1
    trainer = build(settings, log_file, encoder)
    with torch.no_grad():
        for parameter in trainer.network.architecture.parameters():
            parameter.fill_(float("nan"))
    with pytest.raises(DivergenceError, match=r"task 'ctr'.*last at step 0.*Those rows are: user_id=\d+, item_id=i\d+"):
        trainer.fit(490)


def test_progress_says_one_line_an_epoch(
    trained: RunResult, capsys: pytest.CaptureFixture[str], make_console: Callable[[], Console]
) -> None:
    console = make_console()
    progress = Progress(console)
    with progress.bar("epoch 1", 490) as advance:
        advance(64)
    progress.epoch(trained.history.epochs[0], best=True)
    said = console.export_text()
    assert said.count("\n") == 1
    assert said.startswith("epoch 1: loss ctr 0.")
    assert "(best)" in said


@pytest.fixture
def make_console() -> Callable[[], Console]:
    return lambda: Console(record=True, force_terminal=False, width=200)
