"""Write a simulated log: partitioned Parquet, feature tables, and the truth about both."""

from __future__ import annotations

import json
import shutil
import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from ranker.errors import DataError
from training.metrics import BinnedAuc, auc
from training.simulation.config import SimulationConfig
from training.simulation.log import Log

Progress = Callable[[int, int], None]


@dataclass(frozen=True, slots=True)
class SplitSummary:
    """What one split of the log holds.

    Attributes:
        days: Dates, as in the partitions' names.
        num_rows, num_clicks, num_conversions: Counts.
        best_auc: By output, the AUC of the true probabilities on this split's labels, `cvr` over clicked rows: no model
            can do better but by chance. None where a label has one class only. Exact to about 0.0001.
    """

    days: tuple[str, ...]
    num_rows: int
    num_clicks: int
    num_conversions: int
    best_auc: dict[str, float | None]


@dataclass(frozen=True, slots=True)
class SimulationSummary:
    """What was written where."""

    folder: Path
    num_rows: int
    num_users: int
    num_items: int
    splits: dict[str, SplitSummary]  # train, valid, test as far as they have days, and all

    @property
    def impressions(self) -> Path:
        """Folder of the partitions, `date=YYYY-MM-DD`."""
        return self.folder / "impressions"


def simulate(config: SimulationConfig, out_folder: Path, progress: Progress | None = None) -> SimulationSummary:
    """Write a log to a new folder, which appears whole or not at all.

    `impressions/date=YYYY-MM-DD/part-000.parquet`: ids, features, `click`, `conversion` (0 where there is no click) and
    the true probabilities `true_ctr`, `true_cvr`, `true_cvr_if_clicked`, which must not serve as features;
    `users.parquet`, `items.parquet`: features by id; `truth.json`: the config and the splits' summaries.

    Args:
        config: Sizes, rates, difficulties, seed.
        out_folder: Must not exist, or be empty.
        progress: Called after every block with rows written and rows in all.

    Raises:
        DataError: The folder is not empty.
    """
    tallies = {name: _Tally() for name in ("train", "valid", "test")}
    rows_done = 0
    with _whole(out_folder) as folder:
        log = Log.of(config)
        pq.write_table(log.users, folder / "users.parquet")
        pq.write_table(log.items, folder / "items.parquet")
        for day in range(config.num_days):
            date = (config.start_date + timedelta(days=day)).isoformat()
            tally = tallies[config.split_of(day)]
            tally.days.append(date)
            path = folder / "impressions" / f"date={date}" / "part-000.parquet"
            for block in _written(log.day(day), path):
                tally.add(block)
                rows_done += len(block)
                if progress is not None:
                    progress(rows_done, config.num_rows)
        splits = {name: tally.summary() for name, tally in tallies.items() if tally.days}
        splits["all"] = _Tally.of(*tallies.values()).summary()
        truth = {"config": config.model_dump(mode="json"), "splits": {k: asdict(v) for k, v in splits.items()}}
        (folder / "truth.json").write_text(json.dumps(truth, indent=2) + "\n", encoding="utf-8")
    return SimulationSummary(out_folder, rows_done, len(log.users), len(log.items), splits)


def best_auc(columns: Mapping[str, NDArray[Any]]) -> dict[str, float | None]:
    """The best reachable AUC of each output on any rows of a simulated log, exactly.

    Args:
        columns: `click`, `conversion`, `true_ctr` and `true_cvr`.

    Example:
        >>> best_auc({"click": np.array([0, 1, 1]), "conversion": np.array([0, 0, 1]),
        ...           "true_ctr": np.array([0.1, 0.3, 0.2]), "true_cvr": np.array([0.1, 0.2, 0.4])})
        {'ctr': 1.0, 'cvr': 1.0, 'ctcvr': 1.0}
    """
    return {output: auc(scores, labels) for output, (scores, labels) in _truths(columns).items()}


def _truths(columns: Mapping[str, NDArray[Any]]) -> dict[str, tuple[NDArray[Any], NDArray[Any]]]:
    click, conversion = columns["click"], columns["conversion"]
    clicked = np.asarray(click) == 1
    return {
        "ctr": (columns["true_ctr"], click),
        "cvr": (columns["true_cvr"][clicked], conversion[clicked]),
        "ctcvr": (columns["true_ctr"] * columns["true_cvr"], conversion),
    }


@dataclass(slots=True)
class _Tally:
    """Running counts of one split."""

    days: list[str] = field(default_factory=list)
    rows: int = 0
    clicks: int = 0
    conversions: int = 0
    aucs: dict[str, BinnedAuc] = field(default_factory=lambda: {o: BinnedAuc() for o in ("ctr", "cvr", "ctcvr")})

    def add(self, block: pa.Table) -> None:
        names = ("click", "conversion", "true_ctr", "true_cvr")
        columns = {name: block[name].to_numpy() for name in names}
        self.rows += len(block)
        self.clicks += int(columns["click"].sum())
        self.conversions += int(columns["conversion"].sum())
        for output, (scores, labels) in _truths(columns).items():
            self.aucs[output].add(scores, labels)

    @classmethod
    def of(cls, *parts: _Tally) -> _Tally:
        whole = cls(
            days=[day for part in parts for day in part.days],
            rows=sum(part.rows for part in parts),
            clicks=sum(part.clicks for part in parts),
            conversions=sum(part.conversions for part in parts),
        )
        for part in parts:
            for output, binned in part.aucs.items():
                whole.aucs[output].merge(binned)
        return whole

    def summary(self) -> SplitSummary:
        best = {output: binned.value() for output, binned in self.aucs.items()}
        return SplitSummary(tuple(self.days), self.rows, self.clicks, self.conversions, best)


def _written(blocks: Iterator[pa.Table], path: Path) -> Iterator[pa.Table]:
    """Write blocks to one file, a row group each, and hand them on."""
    path.parent.mkdir(parents=True)
    first = next(blocks)
    with pq.ParquetWriter(path, first.schema) as writer:
        writer.write_table(first)
        yield first
        for block in blocks:
            writer.write_table(block)
            yield block


@contextmanager
def _whole(folder: Path) -> Iterator[Path]:
    """A temporary folder beside `folder`, which takes its place in the end."""
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise DataError(f"output folder '{folder}' must be new or empty; remove it, or choose another")
    folder.parent.mkdir(parents=True, exist_ok=True)
    temporary = Path(tempfile.mkdtemp(prefix=f".{folder.name}-", dir=folder.parent))
    try:
        yield temporary
        temporary.chmod(0o755)  # mkdtemp makes folders that only their owner can read
        temporary.replace(folder)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
