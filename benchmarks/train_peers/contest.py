"""What every library has to do, and how it is judged. Runs in the peers' environment too: none of our packages."""

from __future__ import annotations

import argparse
import copy
import json
import sys
import time
from collections.abc import Callable
from contextlib import redirect_stdout
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pyarrow.parquet as pq
import torch
from sklearn.metrics import roc_auc_score
from torch import nn

# Shapes: N = rows, T = tasks

EMBEDDING_DIM, NUM_EXPERTS, EXPERT_DIMS, TOWER_DIMS = 16, 4, (256, 128), (64,)
Ids = dict[str, npt.NDArray[np.int64]]
Values = npt.NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class Contest:
    """One training.

    Attributes:
        data: Parquet file with the features, the labels and `split`.
        features: Categorical columns.
        labels: 0/1 columns.
        epochs: To train.
        batch_size: Rows of a step.
        threads: Of torch.
        seed: Of everything random.
        learning_rate: Of the network's optimizer.
        extra: What only one library knows.
    """

    data: Path
    features: tuple[str, ...]
    labels: tuple[str, ...]
    epochs: int
    batch_size: int
    threads: int
    seed: int
    learning_rate: float
    extra: tuple[str, ...]

    @classmethod
    def from_arguments(cls) -> Contest:
        """As the command line has it."""
        parser = argparse.ArgumentParser(description=__doc__)
        parser.add_argument("--data", type=Path, required=True)
        parser.add_argument("--features", nargs="+", required=True)
        parser.add_argument("--labels", nargs="+", required=True)
        for name, value in (("epochs", 4), ("batch-size", 4096), ("threads", 2), ("seed", 0)):
            parser.add_argument(f"--{name}", type=int, default=value)
        parser.add_argument("--learning-rate", type=float, default=0.001)
        parser.add_argument("--extra", nargs="*", default=[])
        asked = parser.parse_args()
        asked.features, asked.labels, asked.extra = tuple(asked.features), tuple(asked.labels), tuple(asked.extra)
        return cls(**vars(asked))

    def arguments(self) -> list[str]:
        """The command line that `from_arguments` reads."""
        numbers = {"epochs": self.epochs, "batch-size": self.batch_size, "threads": self.threads, "seed": self.seed}
        words = ["--data", str(self.data), "--features", *self.features, "--labels", *self.labels]
        words += [word for name, value in numbers.items() for word in (f"--{name}", str(value))]
        words += ["--learning-rate", str(self.learning_rate)]
        return [*words, "--extra", *self.extra] if self.extra else words

    def rows(self) -> tuple[dict[str, Ids], dict[str, Values], dict[str, int]]:
        """Codes of every feature and labels [N, T] by split, and the number of codes of every feature."""
        table = pq.read_table(self.data, columns=[*self.features, *self.labels, "split"])
        splits = {name: table.column("split").to_numpy() == name for name in ("train", "valid", "test")}
        codes, sizes = {}, {}
        for name in self.features:
            values, codes[name] = np.unique(table.column(name).to_numpy(), return_inverse=True)
            sizes[name] = len(values)
        labels = np.stack([table.column(name).to_numpy() for name in self.labels], axis=1).astype(np.float32)
        ids = {name: {f: code[rows] for f, code in codes.items()} for name, rows in splits.items()}
        return ids, {name: labels[rows] for name, rows in splits.items()}, sizes

    def run(
        self,
        model: nn.Module,
        train_epoch: Callable[[], None],
        predict: Callable[[str], npt.NDArray[np.floating]],
        labels: dict[str, Values],
    ) -> None:
        """Train, keep the epoch that is best on the validation rows, and print what came of it as JSON.

        Args:
            model: Whose state to keep.
            train_epoch: Trains for one epoch; this is what is timed.
            predict: Scores [N, T] of a split.
            labels: Of every split.
        """
        rates, best, kept = [], [0.0], copy.deepcopy(model.state_dict())
        with redirect_stdout(sys.stderr):
            for _ in range(self.epochs):
                started, worked = time.perf_counter(), time.process_time()
                train_epoch()
                rates.append((time.perf_counter() - started, time.process_time() - worked))
                if np.mean(found := self._auc(labels["valid"], predict("valid"))) > np.mean(best):
                    best, kept = found, copy.deepcopy(model.state_dict())
            model.load_state_dict(kept)
            test = self._auc(labels["test"], predict("test"))
        self.report(len(labels["train"]), rates, best, test)

    def report(
        self, num_rows: int, seconds: list[tuple[float, float]], validation_auc: list[float], auc: list[float]
    ) -> None:
        """Print the outcome.

        Args:
            num_rows: Of an epoch.
            seconds: Of every epoch: by the clock, and of the processor.
            validation_auc: On the validation rows, by task.
            auc: On the test rows, by task.
        """
        outcome = {
            "rows_per_second": [num_rows / clock for clock, _ in seconds],
            "rows_per_processor_second": [num_rows / processor for _, processor in seconds],
            "validation_auc": dict(zip(self.labels, validation_auc, strict=True)),
            "auc": dict(zip(self.labels, auc, strict=True)),
        }
        print(json.dumps(outcome))

    @staticmethod
    def _auc(labels_NT: Values, scores_NT: npt.NDArray[np.floating]) -> list[float]:
        return [float(roc_auc_score(labels, scores)) for labels, scores in zip(labels_NT.T, scores_NT.T, strict=True)]


def begin() -> Contest:
    """The contest of the command line, torch made ready for it."""
    contest = Contest.from_arguments()
    torch.set_num_threads(contest.threads)
    torch.manual_seed(contest.seed)
    np.random.seed(contest.seed)
    return contest
