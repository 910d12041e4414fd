"""The training loop: epochs over streamed impressions, judged on validation rows, the best epoch kept."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
import torch.distributed as dist
from torch import Tensor
from torch.utils.tensorboard import SummaryWriter

from ranker.calibration import Calibration
from ranker.encoding import Encoder
from training.ahead import Ahead
from training.batches import Batch
from training.checkpoint import Checkpoints
from training.clean_rows import CleanRows
from training.config import ExperimentConfig
from training.data import Impressions
from training.distributed import gather_rows
from training.errors import DivergenceError, Interrupted
from training.evaluation import EvaluationReport
from training.flat_state import flatten, part
from training.history import Curve, Epoch, History, TaskMeans
from training.network import Network
from training.optimizer import dense_optimizer
from training.predictions import Predictions, predict
from training.progress import Progress
from training.random_state import random_state, set_random_state
from training.safe_point import Due, SafePoints
from training.selection import kpis, selection
from training.splits import Split
from training.step import Step, StepResult
from training.warm_start import CarriedOver, TrainedState, carry_over

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
        checkpoints: Where to save what a killed run goes on from; None saves nothing.
        stop: Whether the run has been asked to stop; looked at after every step.
    """

    def __init__(
        self,
        config: ExperimentConfig,
        impressions: Impressions,
        encoder: Encoder,
        progress: Progress,
        curves: Path | None = None,
        checkpoints: Checkpoints | None = None,
        stop: Callable[[], bool] = lambda: False,
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
            precision=config.training.precision,
        )
        self.clean_rows: CleanRows | None = None
        if (clean := config.training.clean_rows) is not None:
            seed = config.training.seed * 10_007 + dist.get_rank()
            self.clean_rows = CleanRows.load(impressions, encoder, clean, seed)
        self.history = History(curve=Curve(self.step.weighting.task_names))
        self.checkpoints = checkpoints
        self._safe_points = SafePoints(config.training.checkpoints.every_seconds, stop)
        self._losses, self._weights = self._means()
        self._best: dict[str, Tensor] = {}
        self._writer = SummaryWriter(str(curves)) if curves is not None and dist.get_rank() == 0 else None

    def warm_start(self, earlier: TrainedState) -> CarriedOver:
        """Go on from an earlier model in place of random weights."""
        carried = carry_over(earlier, self.network, self.encoder)
        if not carried.optimizers:
            return carried
        try:
            self.step.load_state_dict(earlier.step)
        except ValueError:  # of another balance of the tasks
            return replace(carried, optimizers=False, notes=(*carried.notes, "the balance is another"))
        return carried

    def fit(self, num_train_rows: int) -> History:
        """Train until the validation rows see no better epoch, and leave the network as it was in the best one.

        Goes on from the newest checkpoint if there is one: the result is the same as without the interruption.

        Args:
            num_train_rows: Rows of the training split, for the progress bar.

        Raises:
            DivergenceError: Losses stopped being finite.
            Interrupted: The run was asked to stop; a checkpoint has been saved.
        """
        try:
            self._fit(num_train_rows)
        finally:
            if self._writer is not None:
                self._writer.close()
        return self.history

    def save_trained(self, folder: Path) -> None:
        """Leave what a later run can go on from, optimizers included; every process has to call this.

        Raises:
            CheckpointError: The disk is full or the folder cannot be written.
        """
        state = self._state()
        if dist.get_rank() == 0:
            Checkpoints(folder, keep=1).save(self.step.num_steps, state, {}, {}, "")

    def _fit(self, num_train_rows: int) -> None:
        training = self.config.training
        first, done = self._resume()
        if (first, done) == (1, 0) and self.step.weighting.sample_rows:
            self._observe_data(self.step.weighting.sample_rows)
        for number in range(first, training.epochs + 1):
            if self.history.epochs and self.history.stale(training.early_stopping.patience):
                break
            epoch = self._epoch(number, num_train_rows, done)
            done = 0
            is_best = self.history.add(epoch)
            if is_best:
                self._best = self._state()
            self.progress.epoch(epoch, best=is_best)
            self._losses, self._weights = self._means()
            self._save(number + 1, 0)
        self._load(self._best)

    def _state(self) -> dict[str, Tensor]:
        """Whole copies of the network and of all that training needs to go on from it."""
        return {**flatten("network", self.network.state()), **flatten("step", self.step.state_dict())}

    def _load(self, state: Mapping[str, Tensor]) -> None:
        self.network.load_state(part("network", state))
        self.step.load_state_dict(part("step", state))

    def _save(self, epoch: int, step: int) -> None:
        """Save a checkpoint that goes on after so many steps of an epoch; every process has to call this."""
        if self.checkpoints is None:
            return
        state = self._state()
        if dist.get_rank() == 0:
            random = dict(zip(("cpu", "cuda"), random_state(self.device), strict=False))
            facts = {
                "epoch": epoch,
                "rows": step * self._rows_per_step,
                "history": self.history.to_dict(),
                "losses": self._losses.to_dict(),
                "weights": self._weights.to_dict(),
            }
            best_id = f"epoch {self.history.best}"
            self.checkpoints.save(self.step.num_steps, state | flatten("random", random), facts, self._best, best_id)
        self._safe_points.saved()

    def _resume(self) -> tuple[int, int]:
        """Take up the newest checkpoint; the epoch to go on with, and how many of its steps are done."""
        checkpoint = None if self.checkpoints is None else self.checkpoints.latest()
        if checkpoint is None:
            return 1, 0
        facts = checkpoint.facts
        self._load(checkpoint.state)
        set_random_state(self.device, list(part("random", checkpoint.state).values()))
        self.history, self._best = History.from_dict(facts["history"]), checkpoint.best
        self._losses.load(facts["losses"])
        self._weights.load(facts["weights"])
        self.progress.say(f"goes on from step {self.step.num_steps:,}, in epoch {facts['epoch']}")
        # With another number of processes the rows left are others, but as many.
        return facts["epoch"], round(facts["rows"] / self._rows_per_step)

    @property
    def _rows_per_step(self) -> int:
        return self.config.training.batch_size * dist.get_world_size()

    def _means(self) -> tuple[TaskMeans, TaskMeans]:
        return TaskMeans(self.step.weighting.task_names), TaskMeans(self.step.weighting.task_names)

    def predict(self, split: Split) -> Predictions:
        """Raw outputs and labels of one split, in file order."""
        return predict(self.network, self.impressions, self.encoder, split, self.config.training.eval_batch_size)

    def _epoch(self, number: int, num_train_rows: int, done: int = 0) -> Epoch:
        started = time.perf_counter()
        self.network.architecture.train()
        bar = self.progress.bar(f"epoch {number}", num_train_rows)
        with bar as advance, Ahead(self._batches(number, done)) as batches:
            advance(done * self._rows_per_step)
            for steps, batch in enumerate(batches, start=done + 1):
                self._take_in(self._step(batch))
                advance((batch.num_rows - batch.num_clean) * dist.get_world_size())
                if (due := self._safe_points.look(self.step.num_steps)) is not Due.NOTHING:
                    self._save(number, steps)
                if due is Due.STOP:
                    raise Interrupted(f"stopped in epoch {number} after {self.step.num_steps:,} steps")
        self.network.average_buffers()
        trained = time.perf_counter() - started
        predictions = self.predict("valid")
        report = predictions.report(Calibration.identity(self.config.data_schema), self.config.policy)
        self.step.weighting.observe(kpis(report, predictions))
        epoch = Epoch(
            number=number,
            losses=self._losses.by_task(),
            weights=self._weights.by_task(),
            selection=self._selection(report, predictions),
            valid=report.scalars(),
            rows_per_second=(num_train_rows - done * self._rows_per_step) / trained,
            seconds=time.perf_counter() - started,
            wait_share=batches.seconds_waited / trained,
        )
        if self._writer is not None:
            for name, value in epoch.valid.items():
                self._writer.add_scalar(f"valid/{name}", value, self.step.num_steps)
        return epoch

    def _batches(self, number: int, done: int) -> Iterator[Batch]:
        """Batches of an epoch from that step on."""
        training, rank, world = self.config.training, dist.get_rank(), dist.get_world_size()
        seed, encoder = training.seed * 10_007 + number, self.encoder
        steps = self.impressions.steps("train", encoder, training.batch_size, seed, rank=rank, world=world, start=done)
        if self.clean_rows is None:
            return (rows.batch() for rows in steps)
        return (self.clean_rows.beside(rows, number, step) for step, rows in enumerate(steps, start=done))

    def _take_in(self, result: StepResult) -> None:
        losses_T, weights_T = result.losses_T.cpu().numpy(), result.weights_T.cpu().numpy()
        active_T = result.active_T.cpu().numpy()
        self._losses.add(losses_T, active_T)
        self._weights.add(weights_T, active_T)
        seen_T = np.where(active_T, losses_T, np.nan)  # a task without rows has no loss
        self.history.curve.add(self.step.num_steps, seen_T, weights_T)
        self._curve("train/loss", result.losses_T)
        self._curve("train/weight", result.weights_T)

    @torch.no_grad()
    def _observe_data(self, num_rows: int) -> None:
        """Show the balance random training rows of all processes, as the untrained tables represent them."""
        training, rank, world = self.config.training, dist.get_rank(), dist.get_world_size()
        seed, per_process = training.seed * 10_007, -(-num_rows // world)
        sample = next(self.impressions.batches("train", self.encoder, per_process, seed, rank=rank, world=world))
        encoded, targets, _ = sample.to(self.device)
        mask_NT = targets.mask_BT.to(torch.uint8)  # not every backend exchanges booleans
        sampled = (self.network.embedding(encoded), targets.labels_BT, mask_NT)
        x_ND, labels_NT, mask_NT = (gather_rows(tensor)[:num_rows] for tensor in sampled)
        self.step.weighting.observe_data(x_ND, labels_NT, mask_NT > 0)

    def _step(self, batch: Batch) -> StepResult:
        try:
            encoded, targets, _ = batch.to(self.device)
            return self.step(encoded, targets)
        except DivergenceError as exc:
            named = "; ".join(filter(None, map(batch.names.name, exc.rows)))
            if not named:
                raise
            raise DivergenceError(f"{exc}. Those rows are: {named}", exc.rows) from exc

    def _selection(self, report: EvaluationReport, predictions: Predictions) -> float:
        return selection(report, predictions, self.config.training.early_stopping.tasks or self.tasks)

    def _curve(self, name: str, values_T: Tensor) -> None:
        if self._writer is not None and self.step.num_steps % _CURVE_STEPS == 0:
            for task, value in zip(self.step.weighting.task_names, values_T.tolist(), strict=True):
                self._writer.add_scalar(f"{name}/{task}", value, self.step.num_steps)
