"""A tiny but whole model: schema, encoder, scripted graph, and the bundle that they make."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from ranker.bundle import Bundle
from ranker.bundle_writer import write_bundle
from ranker.calibration import Calibration, Platt, TaskCalibration
from ranker.encoding import Encoder
from ranker.fusion import FusionPolicy
from ranker.schema import Schema

NUM_GOLDEN = 23

# Shapes: R = requests, L = candidates, N = numeric inputs of a side, D = 3


class TinyGraph(nn.Module):
    """Dot product of the summed embeddings of both sides, plus the numeric inputs; one bias per task."""

    def __init__(self, task_names: tuple[str, ...]) -> None:
        super().__init__()
        self.task_names = list(task_names)
        self.table_VD = nn.Parameter(torch.randn(50, 3))
        self.bias_T = nn.Parameter(torch.randn(len(task_names)))

    def pool(self, ids: Tensor, lengths: Tensor, num_rows: int) -> Tensor:
        offsets = torch.cat([torch.zeros(1, dtype=torch.int64), torch.cumsum(lengths, 0)])
        bags_SD = nn.functional.embedding_bag(ids, self.table_VD, offsets, mode="sum", include_last_offset=True)
        return bags_SD.view(lengths.numel() // max(num_rows, 1), num_rows, 3).sum(0)

    def forward(
        self,
        request_ids: Tensor,
        request_lengths: Tensor,
        request_numeric_RN: Tensor,
        item_ids: Tensor,
        item_lengths: Tensor,
        item_numeric_LN: Tensor,
        request_index_L: Tensor,
    ) -> dict[str, Tensor]:
        request_RD = self.pool(request_ids, request_lengths, request_numeric_RN.shape[0])
        item_LD = self.pool(item_ids, item_lengths, item_numeric_LN.shape[0])
        numeric_L = request_numeric_RN.sum(1)[request_index_L] + item_numeric_LN.sum(1)
        dot_L = (request_RD[request_index_L] * item_LD).sum(1) + numeric_L
        outputs: dict[str, Tensor] = {}
        for index, task in enumerate(self.task_names):
            outputs[task] = dot_L + self.bias_T[index]
        return outputs


@dataclass(frozen=True)
class BundleParts:
    """Everything that `write_bundle` wants."""

    graph: torch.jit.ScriptModule
    schema: Schema
    encoder: Encoder
    calibration: Calibration
    fusion: FusionPolicy
    metrics: dict[str, Any]
    golden_rows: pa.Table
    golden_outputs: dict[str, NDArray[Any]]
    data: dict[str, Any]
    version: str

    def write(self, path: Path, **changes: Any) -> Bundle:
        """Write them as a bundle, some of them changed."""
        changed = replace(self, **changes)
        return write_bundle(path, **{name: getattr(changed, name) for name in self.__dataclass_fields__})


@pytest.fixture(scope="session")
def impressions() -> pa.Table:
    """Raw rows with nulls, lists and labels."""
    random = np.random.default_rng(8)
    return pa.table(
        {
            "city": [None if value == 0 else f"c{value}" for value in random.integers(0, 6, NUM_GOLDEN)],
            "hour": random.integers(0, 24, NUM_GOLDEN),
            "brand": random.integers(0, 9, NUM_GOLDEN),
            "tags": [[f"t{tag}" for tag in random.integers(0, 7, num)] for num in random.integers(0, 4, NUM_GOLDEN)],
            "price": random.gamma(2.0, 5.0, NUM_GOLDEN),
            "click": random.integers(0, 2, NUM_GOLDEN),
        }
    )


@pytest.fixture(scope="session")
def tiny_schema() -> Schema:
    """All feature kinds and sides, both task kinds, one derived output."""
    return Schema.model_validate(
        {
            "features": [
                {
                    "name": "city",
                    "side": "user",
                    "kind": "categorical",
                    "encoding": {"kind": "vocabulary", "min_count": 1},
                },
                {"name": "hour", "side": "context", "kind": "numeric"},
                {
                    "name": "brand",
                    "side": "item",
                    "kind": "categorical",
                    "encoding": {"kind": "hash", "num_buckets": 11},
                },
                {"name": "tags", "side": "item", "kind": "categorical_list"},
                {"name": "price", "side": "item", "kind": "numeric", "transforms": ["log1p", "standardize"]},
            ],
            "tasks": [
                {"name": "ctr", "label": "click"},
                {"name": "cvr", "label": "buy", "space": {"where": {"click": 1}}},
                {"name": "dwell", "label": "seconds", "kind": "regression"},
            ],
            "outputs": {"ctcvr": "ctr * cvr"},
        }
    )


def _script(module: nn.Module) -> torch.jit.ScriptModule:
    with warnings.catch_warnings():
        # Bundles are TorchScript by design; torch deprecates it in favour of torch.export.
        warnings.filterwarnings("ignore", message=r"`torch\.jit\.script` is deprecated", category=DeprecationWarning)
        scripted: torch.jit.ScriptModule = torch.jit.script(module.eval())
    return scripted


@pytest.fixture(scope="session")
def script() -> Callable[[nn.Module], torch.jit.ScriptModule]:
    """Scripts a module in eval mode."""
    return _script


@pytest.fixture(scope="session")
def make_parts(tiny_schema: Schema, impressions: pa.Table) -> Callable[[int], BundleParts]:
    """Parts of a bundle whose weights come from the given seed."""

    def make(seed: int) -> BundleParts:
        generator_state = torch.get_rng_state()
        torch.manual_seed(seed)
        eager = TinyGraph(tiny_schema.task_names).eval()
        torch.set_rng_state(generator_state)
        encoder = Encoder.fit(tiny_schema, [impressions])
        calibration = Calibration.identity(tiny_schema)
        tasks = calibration.tasks | {"ctr": TaskCalibration(kind="binary", map=Platt(slope=0.7, intercept=-0.2))}
        calibration = calibration.model_copy(update={"tasks": tasks})
        request, item = encoder.encode(impressions)
        with torch.inference_mode():
            raw = eager(*request, *item, torch.arange(NUM_GOLDEN))
        return BundleParts(
            graph=_script(eager),
            schema=tiny_schema,
            encoder=encoder,
            calibration=calibration,
            fusion=FusionPolicy.default(tiny_schema),
            metrics={"ctr": {"auc": 0.7251, "gauc": None}},
            golden_rows=impressions,
            golden_outputs=dict(calibration.apply({task: raw_L.numpy() for task, raw_L in raw.items()})),
            data={"rows": 1234, "first_timestamp": "2026-01-01T00:00:00Z"},
            version=f"20261122T0213{seed:02d}Z-abcdef",
        )

    return make


@pytest.fixture(scope="session")
def parts(make_parts: Callable[[int], BundleParts]) -> BundleParts:
    """Parts of one bundle."""
    return make_parts(0)


@pytest.fixture(scope="session")
def written(parts: BundleParts, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One bundle on disk; tests copy it before they spoil it."""
    return parts.write(tmp_path_factory.mktemp("bundles") / "good").path
