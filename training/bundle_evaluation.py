"""A bundle judged as a server would load it: raw rows in, calibrated outputs out."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from ranker.bundle import Bundle
from ranker.errors import DataError
from training.config import ExperimentConfig
from training.data import Impressions, naming
from training.errors import ConfigError
from training.evaluation import EvaluationReport, evaluate
from training.log_columns import id_columns, label_columns
from training.predictions import id_values
from training.splits import Split


@dataclass(frozen=True, slots=True)
class BundleEvaluation:
    """A report, and what it was made from.

    Attributes:
        report: Every metric of every output.
        scores: One column per id column and per output, and `score`, the fused one, in file order.
    """

    report: EvaluationReport
    scores: dict[str, npt.NDArray[Any]]


def evaluate_bundle(path: Path, config: ExperimentConfig, data: str | Path, split: Split) -> BundleEvaluation:
    """Judge a bundle on one split of some data.

    Args:
        path: Folder of the bundle.
        config: Names splits, ids and labels; its schema must be the bundle's for labels to mean the same.
        data: Impressions.
        split: Which rows.

    Raises:
        BundleError: The bundle is damaged.
        ConfigError: The config is that of another schema.
        DataError: The data do not fit, or the split is empty.
    """
    bundle = Bundle.load(path)
    schema = bundle.schema
    if config.data_schema != schema:
        raise ConfigError(
            f"the config's `schema` must be that of bundle '{path}', they differ; "
            "give the config.yaml of the run that wrote the bundle"
        )
    impressions = Impressions(data, config)

    def columns(rows: pa.RecordBatch) -> dict[str, npt.NDArray[Any]]:
        return {
            **{f"label.{name}": values for name, values in label_columns(schema, rows).items()},
            **{name: id_values(rows.column(name)) for name in id_columns(schema)},
            **bundle.score_rows(rows),
        }

    joined = of_split(impressions, split, config.training.eval_batch_size, columns)
    labels = {name: joined.pop(f"label.{name}") for name in schema.label_columns}
    outputs = {name: joined[name] for name in schema.output_names}
    joined["score"] = bundle.fusion.score(outputs)
    report = evaluate(
        schema,
        outputs,
        labels,
        user_ids=joined.get(schema.ids.user or ""),
        request_ids=joined.get(schema.ids.request or ""),
        fused_score=joined["score"],
        negative_sampling_rate=bundle.calibration.negative_sampling_rate,
    )
    return BundleEvaluation(report, joined)


def of_split(
    impressions: Impressions,
    split: Split,
    batch_size: int,
    columns: Callable[[pa.RecordBatch], Mapping[str, npt.NDArray[Any]]],
) -> dict[str, npt.NDArray[Any]]:
    """What is made of the rows of one split, batch by batch, as whole columns in file order.

    Args:
        impressions: The rows.
        split: Which of them.
        batch_size: Rows at a time.
        columns: From some rows to columns of as many values.

    Raises:
        DataError: The split is empty, or as `columns` raises, with the place of the data in front.
    """
    parts: dict[str, list[npt.NDArray[Any]]] = {}
    with naming(f"data '{impressions.path}'"):
        for rows in impressions.rows(split, batch_size):
            for name, values in columns(rows).items():
                parts.setdefault(name, []).append(values)
    if not parts:
        raise DataError(f"data '{impressions.path}': split '{split}' has no rows; check `training.split` and the data")
    return {name: np.concatenate(values) for name, values in parts.items()}
