"""Nights one after the other, each going on from the one before, as `ranker-train nightly` runs them."""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import NamedTuple

import pyarrow.parquet as pq
import torch

from ranker.bundle import Bundle
from ranker.encoding import Encoder
from training.config import ExperimentConfig
from training.evaluation import evaluate
from training.log_columns import label_columns
from training.network import Network
from training.nightly import Paths, RunRecord, nightly, past_runs
from training.nightly.log import NightLog
from training.warm_start import BUNDLE, ENCODER, TrainedState, carry_over

# Shapes: V = rows of a table in the earlier model


class Ids(NamedTuple):
    """What one warm start did to the tables.

    Attributes:
        kept: Rows whose id, embedding and optimizer state are bit by bit those of the earlier model.
        new: Rows that were appended.
    """

    kept: int
    new: int


@dataclass(frozen=True, slots=True)
class Nights:
    """A registry and the runs that fill it.

    Attributes:
        log: Folder of the impressions, one folder `date=YYYY-MM-DD` a day.
        folder: Holds `registry/` and `runs/`.
    """

    log: Path
    folder: Path

    def copy(self, folder: Path) -> Nights:
        """The same past for another future."""
        shutil.copytree(self.folder, folder)
        return Nights(self.log, folder)

    def run(self, config: ExperimentConfig, day: date) -> RunRecord:
        """Run one night to its end."""
        paths = Paths(str(self.log), self.folder / "runs", self.folder / "registry")
        return nightly(config, day, paths, NightLog(quiet=True))

    def bundle(self, day: date) -> Path:
        """What the night of a day made, published or not."""
        return self.folder / "runs" / day.isoformat() / BUNDLE

    def ids(self, config: ExperimentConfig, day: date) -> Ids:
        """Repeat the warm start of a night, up to the first training step, and hold it against the earlier model.

        Raises:
            AssertionError: An id has another row than before, or other values in it.
        """
        folder = self.bundle(day).parent
        runs = {record.version: (path, record) for path, record in past_runs(folder.parent)}
        _, record = next(run for run in runs.values() if run[0] == folder)
        assert record.champion is not None
        before = runs[record.champion][0]
        earlier = TrainedState.of_run(before, Encoder.load(before / ENCODER, config.data_schema))
        encoder = Encoder.load(folder / ENCODER, config.data_schema)
        network = Network(config, encoder, torch.device("cpu"))
        carry_over(earlier, network, encoder)
        return compare_ids(earlier, encoder, network)


def judge(bundle: Path, log: Path, day: date) -> dict[str, float]:
    """Metrics of a bundle on all rows of one day, as `ctr/auc`."""
    loaded = Bundle.load(bundle)
    schema = loaded.schema
    columns = sorted({feature.column for feature in schema.features} | set(schema.label_columns))
    rows = pq.read_table(log / f"date={day}", columns=columns, partitioning=None).combine_chunks()
    labels = label_columns(schema, rows.to_batches()[0])
    return evaluate(schema, loaded.score_rows(rows), labels).scalars()


def compare_ids(earlier: TrainedState, encoder: Encoder, network: Network) -> Ids:
    """Hold the tables of a network that was just warm-started against those of the earlier model.

    Raises:
        AssertionError: An id has another row than before, or other values in it.
    """
    state = network.state()
    kept = new = 0
    for table, num_rows in encoder.num_embeddings.items():
        num_known = earlier.encoder.num_embeddings[table]
        if (vocabulary := encoder.vocabularies.get(table)) is not None:
            known = earlier.encoder.vocabularies[table]
            values = known.values.to_numpy(zero_copy_only=False)
            assert (vocabulary.rows(values) == known.rows(values)).all(), f"table '{table}' moved an id"
        for name in (name for name in earlier.network if name.split("/")[:2] == ["tables", table]):
            kept_V = state[name][:num_known]
            assert torch.equal(kept_V, earlier.network[name]), f"'{name}' changed a known id"
        kept, new = kept + num_known, new + num_rows - num_known
    return Ids(kept, new)
