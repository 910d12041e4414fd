"""Rank a request: features from the body or from LMDB, scores of all candidates, the best of them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import lmdb
import msgspec
import numpy as np
import numpy.typing as npt

# Shapes: L = candidates, F = categories, N = numbers, T = tasks

_HEADER_BYTES = 25  # of a packed row; a msgpack array follows
LAYOUT, TABLE_ROWS = "layout.json", "table_rows.npy"

Score = Callable[[npt.NDArray[np.int64], npt.NDArray[np.float32]], npt.NDArray[np.float32]]


class Layout(msgspec.Struct, frozen=True):
    """Where everything is.

    Attributes:
        features: Folder of the LMDB files.
        user: Columns of a user's packed row, in their order; numbers are behind the categories.
        item: The same of an item's.
        context: What a request brings, likewise.
        num_categories: How many columns of each of them are categories, by name.
        weights: Of the outputs in the score.
    """

    features: str
    user: list[str]
    item: list[str]
    context: list[str]
    num_categories: dict[str, int]
    weights: dict[str, float]


class NaiveRanker:
    """What every peer does with a request.

    Args:
        folder: Of the layout, and of the table row of every value by feature.
        score: The network: table rows [L, F] and numbers [L, N] to probabilities [L, T].
    """

    def __init__(self, folder: Path, score: Score) -> None:
        self._layout = msgspec.json.decode((folder / LAYOUT).read_bytes(), type=Layout)
        self._table_rows = np.load(folder / TABLE_ROWS)
        self._score = score
        self._environment = lmdb.open(self._layout.features, readonly=True, max_readers=1024)
        self._unpack = msgspec.msgpack.Decoder().decode

    def rank(self, body: dict[str, Any]) -> dict[str, Any]:
        """The answer to a decoded request."""
        candidates = body["candidates"]
        item_ids = [entry if isinstance(entry, str) else entry["item_id"] for entry in candidates]
        user = self._rows("user", [body["user_id"]])[0]
        context = [body["context"][name] for name in self._layout.context]
        items = self._rows("item", item_ids) if isinstance(candidates[0], str) else self._given(candidates)
        probability_LT = self._score(*self._inputs(user, context, items))
        return {"ranking": self._ranking(item_ids, probability_LT, body["top_k"])}

    def _rows(self, view: str, ids: Sequence[str]) -> list[list[Any]]:
        with self._environment.begin() as transaction:
            raws = [transaction.get(f"{view}\0{entity}".encode()) for entity in ids]
        return [self._unpack(raw[_HEADER_BYTES:]) for raw in raws if raw is not None]

    def _given(self, candidates: Sequence[dict[str, Any]]) -> list[list[Any]]:
        return [[entry["features"][name] for name in self._layout.item] for entry in candidates]

    def _inputs(
        self, user: list[Any], context: list[Any], items: list[list[Any]]
    ) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.float32]]:
        ends = self._layout.num_categories
        categories = user[: ends["user"]] + context[: ends["context"]]
        numbers = user[ends["user"] :] + context[ends["context"] :]
        items_LC = np.array(items)
        ids_LF = np.empty((len(items), len(self._table_rows)), np.int64)
        ids_LF[:, : len(categories)] = categories
        ids_LF[:, len(categories) :] = items_LC[:, : ends["item"]]
        numbers_LN = np.empty((len(items), len(numbers) + items_LC.shape[1] - ends["item"]), np.float32)
        numbers_LN[:, : len(numbers)] = numbers
        numbers_LN[:, len(numbers) :] = items_LC[:, ends["item"] :]
        return self._table_rows[np.arange(ids_LF.shape[1]), ids_LF], numbers_LN

    def _ranking(
        self, item_ids: Sequence[str], probability_LT: npt.NDArray[np.float32], top_k: int
    ) -> list[dict[str, Any]]:
        ctr_L, cvr_L = probability_LT.T.astype(np.float64)
        outputs = {"ctr": ctr_L, "cvr": cvr_L, "ctcvr": ctr_L * cvr_L}
        score_L = sum(weight * outputs[name] for name, weight in self._layout.weights.items())
        best = np.argsort(-score_L, kind="stable")[:top_k]
        return [
            {
                "item_id": item_ids[place],
                "score": float(score_L[place]),
                "outputs": {name: float(values_L[place]) for name, values_L in outputs.items()},
            }
            for place in best
        ]
