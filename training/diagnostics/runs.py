"""Trains the variants that a diagnosis needs, all on the same data, and judges them on the same rows."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch.distributed as dist
from numpy.typing import NDArray

from ranker.encoding import Encoder
from training.config import ExperimentConfig
from training.data import Impressions
from training.diagnostics.quality import Floats, contributions, quality
from training.diagnostics.watched import WatchedTrainer
from training.errors import ConfigError
from training.predictions import Predictions
from training.progress import Progress
from training.run import check_data
from training.splits import Split
from training.trainer import Trainer

# Shapes: N = labelled rows of a task


@dataclass(frozen=True, slots=True)
class Judged:
    """What one trained network is worth to its tasks.

    Attributes:
        quality: AUC or R2 by task.
        contributions: What each labelled row adds to it, by task.
        epochs: Epochs until training stopped.
        best_epoch: The one whose weights were judged.
        seconds: Training and judging.
    """

    quality: dict[str, float]
    contributions: dict[str, Floats] = field(repr=False)
    epochs: int
    best_epoch: int
    seconds: float


class Runs:
    """Variants of one experiment on one data set.

    Args:
        config: The experiment.
        data: Impressions: a Parquet file or a folder of them.
        split: Rows to judge by.
        progress: Told of every run.

    Raises:
        DataError: The data do not fit the config.
        ConfigError: More than one process, or a task that cannot be judged on the split.
    """

    def __init__(self, config: ExperimentConfig, data: str | Path, split: Split, progress: Progress) -> None:
        if dist.get_world_size() > 1:
            raise ConfigError("diagnose must run in one process, got several; start it without torchrun")
        self.config, self.data, self.split, self.progress = config, data, split, progress
        self.impressions = Impressions(data, config)
        self.counts, self.encoder = check_data(self.impressions)
        self.num_train_rows = self.counts["train"]["rows"]
        self.labels: dict[str, NDArray[np.float64]] = {}
        self.num_done, self.num_planned = 0, 0

    def train(self, title: str, config: ExperimentConfig) -> Judged:
        """Train one variant and judge it."""
        encoder = Encoder(config.data_schema, self.encoder.vocabularies, self.encoder.numeric_maps)
        trainer = Trainer(config, Impressions(self.data, config), encoder, Progress(quiet=True))
        return self._run(title, trainer)

    def train_watched(self, title: str, config: ExperimentConfig, affinities: bool) -> tuple[Judged, WatchedTrainer]:
        """Train one variant of the multi-task experiment and keep all that was measured on the way."""
        quiet = Progress(quiet=True)
        trainer = WatchedTrainer(config, self.impressions, self.encoder, quiet, self.num_train_rows, affinities)
        return self._run(title, trainer), trainer

    def _run(self, title: str, trainer: Trainer) -> Judged:
        started = time.perf_counter()
        history = trainer.fit(self.num_train_rows)
        predictions = trainer.predict(self.split)
        kinds = {task.name: task.kind for task in trainer.config.data_schema.tasks}
        labels = _labels(predictions)
        self.labels |= {task: values[mask] for task, (values, mask) in labels.items()}
        found: dict[str, float] = {}
        parts: dict[str, Floats] = {}
        for task, (values, mask) in labels.items():
            raw, own = predictions.raw[task][mask], values[mask]
            value = quality(kinds[task], raw, own)
            if value is None:
                raise ConfigError(
                    f"task '{task}' cannot be judged on split '{self.split}': its {len(own)} labels there are all "
                    "alike; give it more data or another split, or leave the task out"
                )
            found[task], parts[task] = value, contributions(kinds[task], raw, own)
        self.num_done += 1
        seconds = time.perf_counter() - started
        figures = ", ".join(f"{task} {value:.4f}" for task, value in found.items())
        self.progress.say(f"[{self.num_done}/{self.num_planned}] {title}: {figures} ({seconds:.0f} s)")
        return Judged(found, parts, len(history.epochs), history.best, seconds)


def _labels(predictions: Predictions) -> dict[str, tuple[NDArray[np.float64], NDArray[np.bool_]]]:
    values, masks = predictions.masks()
    return {task: (values[task], masks[task]) for task in values}
