"""One night: where everything is, and what the stages share. What is not in memory is read from the run's folder."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Mapping
from datetime import date
from functools import cached_property
from pathlib import Path
from typing import Any

from ranker.atomic import replace_file
from ranker.bundle import Bundle
from ranker.calibration import Calibration
from ranker.encoding import Encoder
from ranker.errors import RankerError, RegistryError
from ranker.registry import Registry
from training.checkpoint import Checkpoints
from training.config import ExperimentConfig
from training.data import Impressions
from training.errors import ConfigError, NightlyError
from training.flat_state import part
from training.nightly.first import first_process
from training.nightly.log import NightLog
from training.nightly.paths import Paths
from training.nightly.record import RunRecord, past_runs
from training.predictions import Predictions
from training.run import CHECKPOINTS
from training.splits import Split
from training.trainer import Trainer
from training.warm_start import ENCODER, TRAINED, TrainedState


class Night:
    """What the stages of one night share.

    Args:
        config: The experiment.
        day: Last day of the data.
        paths: Where it reads and writes.
        folder: The run's own.
        record: What is done so far.
        log: Told what happens.
        stop: Whether the job has been asked to stop.
    """

    def __init__(
        self,
        config: ExperimentConfig,
        day: date,
        paths: Paths,
        folder: Path,
        record: RunRecord,
        log: NightLog,
        stop: Callable[[], bool],
    ) -> None:
        self.day, self.paths, self.folder, self.record = day, paths, folder, record
        self.log, self.stop = log, stop
        self._config = config
        self.registry = Registry(paths.registry)
        self._predictions: dict[Split, Predictions] = {}

    @cached_property
    def config(self) -> ExperimentConfig:
        """The experiment; with the epochs of a warm start where there is one."""
        epochs = self._config.nightly.warm_epochs
        if self.earlier is None or epochs is None:
            return self._config
        return self._config.model_copy(update={"training": self._config.training.model_copy(update={"epochs": epochs})})

    @cached_property
    def impressions(self) -> Impressions:
        """The data of the night's window."""
        return Impressions(self.paths.source(self.day, self._config.nightly), self._config)

    @cached_property
    def champion(self) -> Bundle | None:
        """The live bundle when the night began; None where there was none, or it cannot be read."""
        if self.record.champion is None:
            return None
        try:
            return self.registry.load(self.record.champion)
        except RankerError as error:
            self.log.warn("champion_unreadable", f"the live bundle cannot be read: {error}")
            return None

    @cached_property
    def earlier(self) -> TrainedState | None:
        """What training goes on from: the state of the run that made the live bundle, or else its weights."""
        if not self._config.nightly.warm_start or self.champion is None:
            return None
        for folder, record in past_runs(self.paths.runs):
            if record.version == self.record.champion and (folder / TRAINED).is_dir():
                try:
                    return TrainedState.of_run(folder, self.champion.encoder)
                except ConfigError as error:
                    self.log.warn("state_unreadable", f"{error}; the weights in the live bundle are taken")
        return TrainedState.of_bundle(self.champion)

    @cached_property
    def encoder(self) -> Encoder:
        """What the first stage left."""
        return Encoder.load(self.folder / ENCODER, self._config.data_schema)

    @cached_property
    def trainer(self) -> Trainer:
        """Of this night; trained already if stage `train` is done.

        Raises:
            NightlyError: What that stage left is damaged or gone.
        """
        trainer = Trainer(
            self.config,
            self.impressions,
            self.encoder,
            self.log,
            curves=self.folder / "tensorboard",
            checkpoints=Checkpoints(self.folder / CHECKPOINTS, self.config.training.checkpoints.keep),
            stop=self.stop,
        )
        if self.record.done("train"):
            if (trained := Checkpoints(self.folder / TRAINED).latest()) is None:
                raise NightlyError(
                    f"'{self.folder / TRAINED}' is damaged or gone; run again with --force, which begins anew"
                )
            trainer.network.load_state(part("network", trained.state))
        return trainer

    @cached_property
    def calibration(self) -> Calibration:
        """What stage `calibrate` left."""
        return Calibration.model_validate_json((self.folder / "calibration.json").read_bytes())

    @property
    def night_before(self) -> Path | None:
        """The newest run of an earlier date; None where there is none."""
        earlier = [folder for folder, record in past_runs(self.paths.runs) if record.date < self.day]
        return earlier[-1] if earlier else None

    def predictions(self, split: Split) -> Predictions:
        """Of the trained network, made once; every process has to ask."""
        if split not in self._predictions:
            self._predictions[split] = self.trainer.predict(split)
        return self._predictions[split]

    def write(self, name: str, content: Mapping[str, Any]) -> None:
        """Put JSON values into the run's folder."""
        if first_process():
            replace_file(self.folder / name, json.dumps(content, indent=2, allow_nan=False).encode())

    def read(self, name: str) -> dict[str, Any]:
        """What `write` put there.

        Raises:
            NightlyError: It is not there, or damaged.
        """
        try:
            content: dict[str, Any] = json.loads((self.folder / name).read_bytes())
        except (OSError, ValueError) as error:
            raise NightlyError(
                f"'{self.folder / name}' cannot be read: {error}; move '{self.folder}' away and run again"
            ) from error
        return content


def current(registry: Registry) -> str | None:
    """The live version; None for a registry that is new.

    Raises:
        RegistryError: There are versions, but which is live cannot be read.
    """
    try:
        return registry.current()
    except RegistryError:
        if registry.versions():
            raise
        return None


def remove(folder: Path) -> None:
    """Remove a folder that may not be there."""
    if first_process():
        shutil.rmtree(folder, ignore_errors=True)
