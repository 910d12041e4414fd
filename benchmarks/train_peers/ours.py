"""This project's trainer: it reads and encodes the file anew in every epoch, as a nightly job does."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager

from benchmarks.train_peers.contest import EMBEDDING_DIM, EXPERT_DIMS, NUM_EXPERTS, TOWER_DIMS, Contest, begin
from ranker.calibration import Calibration
from training.config import ExperimentConfig
from training.data import Impressions
from training.distributed import process_group
from training.progress import Advance, Progress
from training.run import fit_encoder
from training.trainer import Trainer


def experiment(contest: Contest) -> ExperimentConfig:
    """The contest as an experiment; what is not said there or here is the default."""
    features = [{"name": name, "side": "item", "kind": "categorical"} for name in contest.features]
    model = {"num_experts": NUM_EXPERTS, "expert_dims": EXPERT_DIMS, "tower_dims": TOWER_DIMS}
    training = {
        "epochs": contest.epochs,
        "batch_size": contest.batch_size,
        "seed": contest.seed,
        "dense": {"learning_rate": contest.learning_rate},
        "precision": contest.extra[0] if contest.extra else "auto",
        "early_stopping": {"patience": contest.epochs},
    }
    return ExperimentConfig.model_validate(
        {
            "schema": {
                "embedding_dim": EMBEDDING_DIM,
                "features": features,
                "tasks": [{"name": label, "label": label} for label in contest.labels],
            },
            "model": {"name": "mmoe", **model},
            "weighting": {"name": "static"},
            "training": training,
        }
    )


class Timed(Progress):
    """Notes what every epoch's training took, by the clock and of the processor."""

    def __init__(self) -> None:
        super().__init__(quiet=True)
        self.seconds: list[tuple[float, float]] = []

    @contextmanager
    def bar(self, title: str, total: int) -> Iterator[Advance]:
        """Held open for as long as an epoch trains."""
        started, worked = time.perf_counter(), time.process_time()
        with super().bar(title, total) as advance:
            yield advance
        self.seconds.append((time.perf_counter() - started, time.process_time() - worked))


def main() -> None:
    """Train and report; `--extra PRECISION` sets `training.precision`, which is `auto` otherwise."""
    contest, progress = begin(), Timed()
    config = experiment(contest)
    with process_group():
        impressions = Impressions(contest.data, config)
        encoder = fit_encoder(impressions, None)
        num_rows = sum(batch.num_rows for batch in impressions.rows("train"))
        trainer = Trainer(config, impressions, encoder, progress)
        trainer.fit(num_rows)
        identity = Calibration.identity(config.data_schema)
        reports = [trainer.predict(split).report(identity, config.policy) for split in ("valid", "test")]
    validation, test = ([report[label].auc or 0.0 for label in contest.labels] for report in reports)
    contest.report(num_rows, progress.seconds, validation, test)


if __name__ == "__main__":
    main()
