"""The training loop: epochs over streamed impressions, judged on validation rows, the best epoch kept."""

from __future__ import annotations

import time
from pathlib import Path

import numpy as np
import pyarrow as pa
import torch
import torch.distributed as dist
from torch import Tensor
from torch.utils.tensorboard import SummaryWriter

from ranker.calibration import Calibration
from ranker.encoding import Encoded, Encoder, SideTensors
from ranker.losses import Targets
from training.batches import Batch, ahead, encode_batch, part_of
from training.clean_rows import CleanRows
from training.config import ExperimentConfig
from training.data import Impressions, id_columns
from training.distributed import gather_rows
from training.errors import DivergenceError
from training.evaluation import EvaluationReport
from training.history import Epoch, History, TaskMeans
from training.network import Network
from training.optimizer import dense_optimizer
from training.predictions import Predictions, predict
from training.progress import Progress
from training.splits import Split
from training.step import Step, StepResult

# Shapes: T = tasks

_CURVE_STEPS = 20  # steps between two points of the TensorBoard curves


class Trainer:
    """Trains one experiment.

    Args:
        config: The experiment.
        impressions: Its data.
        encoder: Fitted on the training rows.
        progress: Told what happens.
        curves: Folder for TensorBoard; None writes none.
    """

    def __init__(
        self,
        config: ExperimentConfig,
        impressions: Impressions,
        encoder: Encoder,
        progress: Progress,
        curves: Path | None = None,
    ) -> None:
        self.config, self.impressions, self.encoder, self.progress = config, impressions, encoder, progress
        self.tasks = config.data_schema.task_names
        self.device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
        self.network = Network(config, encoder, self.device)
        self.step = Step(
            embedding=self.network.embedding,
            architecture=self.network.architecture,
            objective=config.build_objective(),
            weighting=config.build_weighting(),
            gram=config.gram,
            optimizer=dense_optimizer(config.training.dense, self.network.architecture),
            max_gradient_norm=config.training.dense.max_gradient_norm,
            max_bad_steps=config.training.max_bad_steps,
        )
        self.clean_rows: CleanRows | None = None
        if (clean := config.training.clean_rows) is not None:
            self.clean_rows = CleanRows.load(impressions, clean, config.training.seed * 10_007 + dist.get_rank())
        self.history = History()
        self._writer = SummaryWriter(str(curves)) if curves is not None and dist.get_rank() == 0 else None

    def fit(self, num_train_rows: int) -> History:
        """Train until the validation rows see no better epoch, and leave the network as it was in the best one.

        Args:
            num_train_rows: Rows of the training split, for the progress bar.
        """
        try:
            self._fit(num_train_rows)
        finally:
            if self._writer is not None:
                self._writer.close()
        return self.history

    def _fit(self, num_train_rows: int) -> None:
        best: dict[str, Tensor] = {}
        if self.step.weighting.sample_rows:
            self._observe_data(self.step.weighting.sample_rows)
        for number in range(1, self.config.training.epochs + 1):
            epoch = self._epoch(number, num_train_rows)
            is_best = self.history.add(epoch)
            if is_best:
                best = self.network.state()
            self.progress.epoch(epoch, best=is_best)
            if self.history.stale(self.config.training.early_stopping.patience):
                break
        self.network.load_state(best)

    def predict(self, split: Split) -> Predictions:
        """Raw outputs and labels of one split, in file order."""
        return predict(self.network, self.impressions, self.encoder, split, self.config.training.eval_batch_size)

    def _epoch(self, number: int, num_train_rows: int) -> Epoch:
        started = time.perf_counter()
        names = self.step.weighting.task_names
        losses, weights = TaskMeans(names), TaskMeans(names)
        training, rank, world = self.config.training, dist.get_rank(), dist.get_world_size()
        tables = self.impressions.batches("train", training.batch_size * world, seed=training.seed * 10_007 + number)
        batches = (self._encode(part_of(table, rank, world)) for table in tables)
        self.network.architecture.train()
        with self.progress.bar(f"epoch {number}", num_train_rows) as advance:
            for batch in ahead(batches):
                result = self._step(batch)
                active_T = result.active_T.cpu().numpy()
                losses.add(result.losses_T.cpu().numpy(), active_T)
                weights.add(result.weights_T.cpu().numpy(), active_T)
                advance((batch.rows.num_rows - batch.num_clean) * world)
                self._curve("train/loss", result.losses_T)
                self._curve("train/weight", result.weights_T)
        self.network.average_buffers()
        trained = time.perf_counter() - started
        predictions = self.predict("valid")
        report = predictions.report(Calibration.identity(self.config.data_schema), self.config.policy)
        self.step.weighting.observe(self._kpis(report, predictions))
        epoch = Epoch(
            number=number,
            losses=losses.by_task(),
            weights=weights.by_task(),
            selection=self._selection(report, predictions),
            valid=report.scalars(),
            rows_per_second=num_train_rows / trained,
            seconds=time.perf_counter() - started,
        )
        if self._writer is not None:
            for name, value in epoch.valid.items():
                self._writer.add_scalar(f"valid/{name}", value, self.step.num_steps)
        return epoch

    def _encode(self, rows: pa.Table) -> Batch:
        if self.clean_rows is None:
            return encode_batch(self.encoder, rows)
        return encode_batch(self.encoder, self.clean_rows.beside(rows), num_clean=self.clean_rows.per_step)

    @torch.no_grad()
    def _observe_data(self, num_rows: int) -> None:
        """Show the balance random training rows of all processes, as the untrained tables represent them."""
        training, rank, world = self.config.training, dist.get_rank(), dist.get_world_size()
        parts: list[tuple[Tensor, Tensor, Tensor]] = []
        seen = 0
        for table in self.impressions.batches("train", training.batch_size * world, seed=training.seed * 10_007):
            rows = table.slice(0, num_rows - seen)
            encoded, targets = self._on_device(encode_batch(self.encoder, part_of(rows, rank, world)))
            mask_NT = targets.mask_BT.to(torch.uint8)  # not every backend exchanges booleans
            parts.append((self.network.embedding(encoded), targets.labels_BT, mask_NT))
            seen += rows.num_rows
            if seen == num_rows:
                break
        x_ND, labels_NT, mask_NT = (gather_rows(torch.cat(column)) for column in zip(*parts, strict=True))
        self.step.weighting.observe_data(x_ND, labels_NT, mask_NT > 0)

    def _on_device(self, batch: Batch) -> tuple[Encoded, Targets]:
        sides = [SideTensors(*(tensor.to(self.device, non_blocking=True) for tensor in side)) for side in batch.encoded]
        labels_BT, mask_BT, clean_B = batch.targets
        clean_B = None if clean_B is None else clean_B.to(self.device, non_blocking=True)
        targets = Targets(
            labels_BT.to(self.device, non_blocking=True), mask_BT.to(self.device, non_blocking=True), clean_B
        )
        return Encoded(*sides), targets

    def _step(self, batch: Batch) -> StepResult:
        try:
            return self.step(*self._on_device(batch))
        except DivergenceError as exc:
            columns = id_columns(self.config.data_schema)
            if not exc.rows or not columns:
                raise
            named = "; ".join(
                ", ".join(f"{name}={batch.rows.column(name)[row].as_py()}" for name in columns) for row in exc.rows
            )
            raise DivergenceError(f"{exc}. Those rows are: {named}", exc.rows) from exc

    def _selection(self, report: EvaluationReport, predictions: Predictions) -> float:
        """Mean over the chosen tasks of AUC (R2 for regressions); a task without both classes does not count."""
        chosen = self.config.training.early_stopping.tasks or self.tasks
        quality = self._quality(report, predictions)
        defined = [quality[task] for task in chosen if task in quality]
        return float(np.mean(defined)) if defined else 0.0

    def _kpis(self, report: EvaluationReport, predictions: Predictions) -> dict[str, float]:
        """What tasks have learnt: 2 AUC - 1 or R2, 0 where that is nothing, 1 where it is all there is."""
        quality = self._quality(report, predictions)
        return {task: 2 * value - 1 if report[task].kind == "binary" else value for task, value in quality.items()}

    def _quality(self, report: EvaluationReport, predictions: Predictions) -> dict[str, float]:
        """AUC of each task, R2 of regressions; without tasks that are all of one class or value."""
        quality: dict[str, float] = {}
        for task in self.tasks:
            found = report[task]
            if found.auc is not None:
                quality[task] = found.auc
            elif found.mse is not None and (variance := predictions.label_variance(task)) > 0:
                quality[task] = 1 - found.mse / variance
        return quality

    def _curve(self, name: str, values_T: Tensor) -> None:
        if self._writer is not None and self.step.num_steps % _CURVE_STEPS == 0:
            for task, value in zip(self.step.weighting.task_names, values_T.tolist(), strict=True):
                self._writer.add_scalar(f"{name}/{task}", value, self.step.num_steps)
