"""What a network says of one split, beside what was observed."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import torch

from ranker.calibration import Calibration
from ranker.encoded import Encoded, EncodedColumns
from ranker.encoding import Encoder
from ranker.fusion import FusionPolicy
from ranker.schema import Schema
from training.ahead import Ahead
from training.data import Impressions
from training.evaluation import EvaluationReport, evaluate
from training.labels import task_labels
from training.log_columns import label_columns
from training.network import Network
from training.splits import Split

# Shapes: N = rows of the split


@dataclass(frozen=True, slots=True)
class Predictions:
    """Raw outputs, labels and ids of the rows of one split, in file order.

    Attributes:
        schema: Names the outputs and labels.
        raw: Raw output [N] of every task.
        labels: Raw label column [N] of every label.
        user_ids: User of each row, or None where the schema names none.
        request_ids: Request of each row, or None where the schema names none.
    """

    schema: Schema
    raw: dict[str, npt.NDArray[np.float32]]
    labels: dict[str, npt.NDArray[np.generic]]
    user_ids: npt.NDArray[Any] | None
    request_ids: npt.NDArray[Any] | None

    def report(self, calibration: Calibration, policy: FusionPolicy) -> EvaluationReport:
        """Every metric of every calibrated output and of the fused score."""
        outputs = calibration.apply(self.raw)
        return evaluate(
            self.schema,
            outputs,
            self.labels,
            self.user_ids,
            self.request_ids,
            fused_score=policy.score(outputs),
            negative_sampling_rate=calibration.negative_sampling_rate,
        )

    def masks(self) -> tuple[dict[str, npt.NDArray[np.float64]], dict[str, npt.NDArray[np.bool_]]]:
        """Labels and masks of every task, as calibration takes them."""
        known = task_labels(self.schema, self.labels)
        tasks = self.schema.task_names
        return {task: known[task].values for task in tasks}, {task: known[task].mask for task in tasks}

    def label_variance(self, task: str) -> float:
        """Variance of a task's labels over its rows."""
        values, masks = self.masks()
        return float(values[task][masks[task]].var())


def predict(network: Network, impressions: Impressions, encoder: Encoder, split: Split, batch_size: int) -> Predictions:
    """Run a network over one split, on every process alike. Rows are read and encoded in a background thread."""
    schema = encoder.schema
    raw: dict[str, list[npt.NDArray[np.float32]]] = {task: [] for task in schema.task_names}
    labels: dict[str, list[npt.NDArray[np.generic]]] = {name: [] for name in schema.label_columns}
    ids: dict[str, list[pa.Array]] = {name: [] for name in (schema.ids.user, schema.ids.request) if name}
    with Ahead(_encoded(impressions, encoder, split), depth=1) as pieces:
        for rows, columns in pieces:
            for start in range(0, rows.num_rows, batch_size):
                places = np.arange(start, min(start + batch_size, rows.num_rows))
                for task, values in _outputs(network, columns.take(places).tensors()).items():
                    raw[task].append(values)
            for name, column in label_columns(schema, rows).items():
                labels[name].append(column)
            for name, parts in ids.items():
                parts.append(rows.column(name))
    joined = {name: id_values(pa.chunked_array(parts)) for name, parts in ids.items()}
    return Predictions(
        schema=schema,
        raw={task: np.concatenate(parts) for task, parts in raw.items()},
        labels={name: np.concatenate(parts) for name, parts in labels.items()},
        user_ids=joined.get(schema.ids.user or ""),
        request_ids=joined.get(schema.ids.request or ""),
    )


def outputs_of(
    network: Network, encoder: Encoder, rows: pa.RecordBatch | pa.Table
) -> Mapping[str, npt.NDArray[np.float32]]:
    """Raw outputs of some rows."""
    return _outputs(network, encoder.encode(rows))


def id_values(array: pa.Array | pa.ChunkedArray) -> npt.NDArray[Any]:
    """An id column as numpy. Equal strings are one object: 8 bytes a row, whatever their length."""
    kind = array.type.value_type if pa.types.is_dictionary(array.type) else array.type
    values: npt.NDArray[Any]
    if not (pa.types.is_string(kind) or pa.types.is_large_string(kind)):
        values = array.cast(kind).to_numpy(zero_copy_only=False)
        return values
    coded = pa.table({"id": array if pa.types.is_dictionary(array.type) else array.dictionary_encode()})
    coded = coded.unify_dictionaries().column("id").combine_chunks()
    words = np.array([*coded.dictionary.to_pylist(), None], dtype=object)
    values = words.take(coded.indices.cast(pa.int64()).fill_null(len(words) - 1).to_numpy(zero_copy_only=False))
    return values


def _encoded(
    impressions: Impressions, encoder: Encoder, split: Split
) -> Iterator[tuple[pa.RecordBatch, EncodedColumns]]:
    return ((rows, encoder.encode_columns(rows)) for rows in impressions.rows(split))


def _outputs(network: Network, encoded: Encoded) -> Mapping[str, npt.NDArray[np.float32]]:
    on_device = type(encoded)(*(type(side)(*(t.to(network.device) for t in side)) for side in encoded))
    with torch.no_grad():
        return {task: values.float().cpu().numpy() for task, values in network.predict(on_device).items()}
