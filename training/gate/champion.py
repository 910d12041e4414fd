"""The live bundle on tonight's rows: read, scored, and held against the challenger."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from ranker.bundle import Bundle
from ranker.errors import BundleError, DataError
from training.bundle_evaluation import of_split
from training.config import ExperimentConfig
from training.data import Impressions
from training.gate.decision import Decision
from training.gate.judge import judge
from training.gate.matching import describe, same_outputs
from training.gate.scores import JudgedRows, Scores
from training.log_columns import label_columns
from training.predictions import id_values
from training.splits import Split

# Shapes: N = rows of the split


class Incomparable(Exception):
    """The champion cannot be compared with on these rows; the message says why."""


def compare_with_champion(
    config: ExperimentConfig,
    impressions: Impressions,
    rows: JudgedRows,
    challenger: Scores,
    champion: Path | None,
    split: Split = "test",
) -> Decision:
    """Judge a challenger by the live bundle, on the same rows.

    A champion of another schema is compared on the outputs that mean the same: same label, kind and sample space, or
    same factors. A champion that is damaged, or reads columns that the data do not have, is not compared; floors alone
    judge, and a warning says why.

    Args:
        config: The experiment of the challenger: its schema, limits and policy.
        impressions: Where the rows are.
        rows: What came of them, in file order: `JudgedRows.of(predictions, calibration)` or `read_rows`.
        challenger: What the new model says of them: `Scores.of(predictions, calibration)` or `score_bundle`.
        champion: Folder of the live bundle; None on the first night.
        split: Of which the rows are.

    Raises:
        DataError: The rows cannot be read, or are not those of `rows`.
    """
    live: Scores | None = None
    warnings: tuple[str, ...] = ()
    if champion is not None:
        try:
            live = score_bundle(load(champion), config, impressions, split)
            _check_paired(rows, live)
        except Incomparable as reason:
            warnings = (f"The champion '{champion.name}' was not compared, floors alone judged: {reason}",)
    decision = judge(config.data_schema, rows, challenger, live, config.gate, config.policy)
    return decision.model_copy(update={"warnings": warnings + decision.warnings})


def load(path: Path) -> Bundle:
    """Read a bundle.

    Raises:
        Incomparable: It is damaged.
    """
    try:
        return Bundle.load(path)
    except BundleError as exc:
        raise Incomparable(str(exc)) from exc


def read_rows(config: ExperimentConfig, impressions: Impressions, split: Split) -> JudgedRows:
    """Labels and ids of the rows of one split, for challengers that are bundles.

    Raises:
        DataError: The rows cannot be read, or there are none.
    """
    schema = config.data_schema
    ids = {key: name for key in ("user", "request") if (name := getattr(schema.ids, key)) is not None}

    def columns(batch: pa.RecordBatch) -> dict[str, NDArray[np.generic]]:
        return {
            **{f"label.{name}": values for name, values in label_columns(schema, batch).items()},
            **{key: id_values(batch.column(name)) for key, name in ids.items()},
        }

    joined = of_split(impressions, split, config.training.eval_batch_size, columns)
    labels = {name: joined[f"label.{name}"] for name in schema.label_columns}
    rates = config.calibration.negative_sampling_rate
    return JudgedRows(labels, joined.get("user"), joined.get("request"), rates)


def score_bundle(bundle: Bundle, config: ExperimentConfig, impressions: Impressions, split: Split) -> Scores:
    """What a bundle says of the rows of one split, by the names that the experiment's schema has for its outputs.

    Raises:
        DataError: The rows cannot be read, or there are none.
        Incomparable: The bundle has no output that means the same as one of the experiment, or cannot read the rows.
    """
    schema = config.data_schema
    names = same_outputs(schema, bundle.schema)
    theirs = "; ".join(describe(bundle.schema, output) for output in bundle.schema.output_names)
    absent = {
        output: f"it predicts nothing that means the same as {describe(schema, output)}; it has {theirs}"
        for output in schema.output_names
        if output not in names
    }
    if not names:
        raise Incomparable("; ".join(absent.values()))

    def columns(batch: pa.RecordBatch) -> dict[str, NDArray[np.float64]]:
        try:
            outputs = bundle.score_rows(batch)
        except DataError as exc:
            raise Incomparable(f"it cannot read these rows: {exc}") from exc
        return {output: outputs[name] for output, name in names.items()}

    readable = _with_columns_of(bundle, config, impressions)
    scores = of_split(readable, split, config.training.eval_batch_size, columns)
    return Scores(scores, bundle.manifest.version, absent)


def _check_paired(rows: JudgedRows, live: Scores) -> None:
    judged, scored = (len(next(iter(columns.values()))) for columns in (rows.labels, live.outputs))
    if judged != scored:
        raise DataError(f"the champion was given {scored} rows, the challenger {judged}; the data changed, start again")


def _with_columns_of(bundle: Bundle, config: ExperimentConfig, impressions: Impressions) -> Impressions:
    """The same rows in the same order, with the columns that the bundle reads."""
    if set(bundle.schema.feature_columns) <= set(impressions.columns):
        return impressions
    features = (*config.data_schema.features, *bundle.schema.features)
    # Of this schema only its columns are used: features of one name may well be two.
    schema = config.data_schema.model_copy(update={"features": features})
    try:
        return Impressions(impressions.source, config.model_copy(update={"data_schema": schema}))
    except DataError as exc:
        Impressions(impressions.source, config)  # raises if it is the data that are at fault, not the champion's wishes
        raise Incomparable(f"it reads columns that these data do not have: {exc}") from exc
