"""A simulated log, experiments trained on it, and the truth about its test rows."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from training.config import ExperimentConfig
from training.data import Impressions
from training.history import History
from training.predictions import Predictions
from training.progress import Progress
from training.run import check_data
from training.simulation import SimulationConfig, simulate
from training.trainer import Trainer


@dataclass(frozen=True, slots=True)
class Trained:
    """What one training leaves: the epochs, and what the best of them says of held-out rows."""

    history: History
    valid: Predictions
    test: Predictions

    @property
    def selection(self) -> float:
        """Mean AUC of the tasks on the validation rows, in the best epoch."""
        return self.history.epochs[self.history.best - 1].selection

    def mean_weights(self) -> dict[str, float]:
        """Weight of each task in the shared update, mean over all steps."""
        epochs = [epoch.weights for epoch in self.history.epochs]
        return {task: float(np.mean([weights[task] for weights in epochs])) for task in epochs[0]}


@dataclass(frozen=True, slots=True)
class SimulatedLog:
    """A log on disk.

    Attributes:
        impressions: Its folder.
        test: Labels and true probabilities of the rows of its test days, in file order.
    """

    impressions: Path
    test: pa.Table

    @classmethod
    def write(cls, config: SimulationConfig, folder: Path) -> SimulatedLog:
        """Simulate to a new folder."""
        summary = simulate(config, folder)
        days = [summary.impressions / f"date={day}" for day in summary.splits["test"].days]
        columns = ["click", "conversion", "true_ctr", "true_cvr", "true_cvr_if_clicked"]
        parts = [pq.read_table(day, columns=columns, partitioning=None) for day in days]
        return cls(summary.impressions, pa.concat_tables(parts))

    def train(self, config: ExperimentConfig) -> Trained:
        """Train once, within a process group. The experiment has to test on the log's test days."""
        impressions = Impressions(self.impressions, config)
        counts, encoder = check_data(impressions)
        trainer = Trainer(config, impressions, encoder, Progress(quiet=True))
        history = trainer.fit(counts["train"]["rows"])
        trained = Trained(history, trainer.predict("valid"), trainer.predict("test"))
        for name, labels in trained.test.labels.items():
            assert np.array_equal(labels, self.column(name)), "the test rows are not those of the test days"
        return trained

    def column(self, name: str) -> np.ndarray[tuple[int], np.dtype[np.float64]]:
        """A column of the test rows."""
        values: np.ndarray[tuple[int], np.dtype[np.float64]] = self.test[name].to_numpy().astype(np.float64)
        return values
