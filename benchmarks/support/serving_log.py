"""What `benchmarks.serve` ranks: users and items with 30 categories and 10 numbers, and a log to train on.

Every category has `TABLE_ROWS` values, all of them seen in training, so that the tables have about two million rows.
Users, items and values follow power laws.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq

# Shapes: N = rows

TABLE_ROWS, NUM_USERS, NUM_ITEMS = 66_000, 100_000, 100_000
ROWS = {"train": 196_608, "valid": 16_384, "test": 16_384}
EMBEDDING_DIM = 16
WEIGHTS = {"ctr": 0.5, "ctcvr": 1.0}  # of the fusion policy
_INFORMATIVE = ("i0", "i1", "u0", "u1", "c0")

Ids = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Columns:
    """The columns of one side."""

    categories: tuple[str, ...]
    numbers: tuple[str, ...]

    @property
    def names(self) -> tuple[str, ...]:
        """All of them, categories first."""
        return self.categories + self.numbers


def _columns(side: str, num_categories: int, num_numbers: int) -> Columns:
    letter = side[0]
    numbers = tuple(f"{letter}n{place}" for place in range(num_numbers))
    return Columns(tuple(f"{letter}{place}" for place in range(num_categories)), numbers)


USER, CONTEXT, ITEM = _columns("user", 10, 2), _columns("context", 5, 2), _columns("item", 15, 6)
SIDES = {"user": USER, "context": CONTEXT, "item": ITEM}


def experiment() -> dict[str, Any]:
    """The experiment: MMoE of 4 experts [256, 128] and towers [64], one epoch, nothing calibrated."""
    features: list[dict[str, Any]] = []
    for side, columns in SIDES.items():
        seen_once = {"kind": "vocabulary", "min_count": 1}
        features += [
            {"name": name, "side": side, "kind": "categorical", "encoding": seen_once} for name in columns.categories
        ]
        features += [{"name": name, "side": side, "kind": "numeric", "transforms": []} for name in columns.numbers]
    return {
        "schema": {
            "ids": {"user": "user_id", "item": "item_id"},
            "embedding_dim": EMBEDDING_DIM,
            "features": features,
            "tasks": [
                {"name": "ctr", "label": "click"},
                {"name": "cvr", "label": "buy", "space": {"where": {"click": 1}}},
            ],
            "outputs": {"ctcvr": "ctr * cvr"},
        },
        "model": {"name": "mmoe", "num_experts": 4, "expert_dims": [256, 128], "tower_dims": [64]},
        "training": {"epochs": 1},
        "export": {"engines": ["aotinductor"]},
        "calibration": {"method": "none"},
        "fusion": {"terms": [{"output": output, "weight": weight} for output, weight in WEIGHTS.items()]},
    }


def write_log(folder: Path, seed: int = 0) -> None:
    """Write `users.parquet`, `items.parquet` and `log.parquet`, which has an impression of each user and item."""
    random = np.random.default_rng(seed)
    users = {"user_id": _names("u", NUM_USERS), **_side(random, USER, NUM_USERS)}
    items = {"item_id": _names("i", NUM_ITEMS), **_side(random, ITEM, NUM_ITEMS)}
    num_rows = sum(ROWS.values())
    user_N, item_N = (_shuffled_train(random, power_law(random, count, num_rows)) for count in (NUM_USERS, NUM_ITEMS))
    rows: dict[str, npt.NDArray[Any]] = {name: values[user_N] for name, values in users.items()}
    rows |= {name: values[item_N] for name, values in items.items()}
    rows |= {name: _shuffled_train(random, values) for name, values in _side(random, CONTEXT, num_rows).items()}
    rows |= _labels(random, rows)
    rows["split"] = np.repeat(list(ROWS), list(ROWS.values()))
    for name, columns in (("users", users), ("items", items), ("log", rows)):
        pq.write_table(pa.table(columns), folder / f"{name}.parquet", row_group_size=65_536)


def power_law(random: np.random.Generator, count: int, num_draws: int) -> Ids:
    """Every number below `count` once, then draws in which the n-th is about as frequent as 1 / n."""
    drawn = np.floor((count + 1.0) ** random.random(num_draws - count)).astype(np.int64) - 1
    return np.concatenate([np.arange(count), drawn])


def _side(random: np.random.Generator, columns: Columns, num_rows: int) -> dict[str, npt.NDArray[Any]]:
    categories = {
        name: random.permutation(TABLE_ROWS)[random.permutation(power_law(random, TABLE_ROWS, num_rows))]
        if columns is not CONTEXT
        else power_law(random, TABLE_ROWS, num_rows)
        for name in columns.categories
    }
    return categories | {name: random.normal(size=num_rows).round(3) for name in columns.numbers}


def _shuffled_train(random: np.random.Generator, values: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """The same values, those of the training rows in another order: what must be seen in training comes first."""
    return np.concatenate([random.permutation(values[: ROWS["train"]]), values[ROWS["train"] :]])


def _labels(random: np.random.Generator, rows: dict[str, npt.NDArray[Any]]) -> dict[str, Ids]:
    labels: dict[str, Ids] = {}
    for label, offset in (("click", -1.0), ("buy", -0.5)):
        logit_N = offset + 0.5 * rows["in0"] + 0.5 * rows["un0"] * rows["in1"]
        for name in _INFORMATIVE:
            logit_N = logit_N + random.normal(size=TABLE_ROWS)[rows[name]]
        labels[label] = (random.random(len(logit_N)) < 1 / (1 + np.exp(-logit_N))).astype(np.int64)
    labels["buy"] *= labels["click"]
    return labels


def _names(prefix: str, count: int) -> npt.NDArray[np.object_]:
    return np.array([f"{prefix}{number}" for number in range(count)], dtype=object)
