"""What `benchmarks.train` trains on: a public file, and big tables."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import yaml

CONFIG = Path(__file__).parents[2] / "configs" / "census_cat33.yaml"
NUM_TABLES, TABLE_ROWS = 30, 66_000
_SPLITS = {"train": 262_144, "valid": 32_768, "test": 65_536}
_INFORMATIVE = 6  # features that the labels depend on


def census_columns() -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Features and labels of the census file: those of the experiment that comes with the project."""
    schema = yaml.safe_load(CONFIG.read_text(encoding="utf-8"))["schema"]
    return tuple(f["name"] for f in schema["features"]), tuple(task["label"] for task in schema["tasks"])


def write_big_tables(path: Path, seed: int = 0) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Simulate rows whose features have 66,000 values each, all of them seen in training; features and labels.

    Values follow a power law. The labels are drawn from logistic models of six of the features.
    """
    random = np.random.default_rng(seed)
    num_rows = sum(_SPLITS.values())
    columns: dict[str, object] = {}
    logits = np.zeros((2, num_rows))
    for place in range(NUM_TABLES):
        rank = np.floor(TABLE_ROWS ** random.random(num_rows)).astype(np.int64) - 1
        rank[:TABLE_ROWS] = np.arange(TABLE_ROWS)
        values = random.permutation(TABLE_ROWS)[rank]
        values[: _SPLITS["train"]] = random.permutation(values[: _SPLITS["train"]])
        columns[f"feature_{place}"] = values
        if place < _INFORMATIVE:
            logits += random.normal(size=(2, TABLE_ROWS))[:, values]
    labels = ("label_first", "label_second")
    for label, logit, offset in zip(labels, logits, (-1.0, -2.0), strict=True):
        columns[label] = (random.random(num_rows) < 1 / (1 + np.exp(-logit - offset))).astype(np.int64)
    columns["split"] = np.repeat(list(_SPLITS), list(_SPLITS.values()))
    pq.write_table(pa.table(columns), path, row_group_size=65_536)
    return tuple(f"feature_{place}" for place in range(NUM_TABLES)), labels
