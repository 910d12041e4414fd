"""The same rows through training's evaluation, the bundle in process, and `/rank` over HTTP give the same outputs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from copy import deepcopy
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch

from feature_store import Column, ViewSchema, parse_store
from ranker.bundle import Bundle
from ranker.calibration import Calibration
from ranker.encoding import Encoder, SideTensors
from ranker.exporters import AOTInductor
from ranker.registry import Registry
from tests.serving.conftest import ADMIN, TOKEN, World, eventually
from tests.serving.test_cli import program
from tests.training.conftest import MODELS, SETTINGS, make_log
from training.config import ExperimentConfig
from training.data import Impressions
from training.distributed import process_group
from training.export import export_bundle
from training.network import Network
from training.predictions import outputs_of

# Shapes: L = items

USER_COLUMNS = (Column("city", "string"), Column("history", "string_list"), Column("age", "int"))
ITEM_COLUMNS = (Column("tags", "string_list"), Column("price", "float"))
NUM_USERS = 3
LOWERED = ("mmoe", "ple", "stem")
UNLIMITED = {"max_score_error": 1.0, "min_top_k_overlap": 0.0, "max_auc_loss": 1.0}  # weights here are random
Outputs = Mapping[str, npt.NDArray[np.float64]]


@dataclass(frozen=True)
class Shop:
    """Users in their contexts, and items, as rows of the log."""

    users: list[dict[str, Any]]
    items: dict[str, dict[str, Any]]

    def rows(self, user: int) -> pa.Table:
        """One user with every item, [L]."""
        return pa.Table.from_pylist([{**self.users[user], "item_id": i, **values} for i, values in self.items.items()])


@pytest.fixture(scope="module")
def log_table() -> pa.Table:
    """The log that all are trained on."""
    return make_log(700, seed=8)


@pytest.fixture(scope="module")
def log_file(log_table: pa.Table, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same rows as a Parquet file."""
    path = tmp_path_factory.mktemp("log") / "log.parquet"
    pq.write_table(log_table, path)
    return path


@pytest.fixture(scope="module")
def shop(log_table: pa.Table) -> Shop:
    logged = log_table.to_pylist()
    users = [{name: row[name] for name in ("city", "history", "age", "hour")} for row in logged[-NUM_USERS:]]
    items = {row["item_id"]: {column.name: row[column.name] for column in ITEM_COLUMNS} for row in logged}
    return Shop(users, items)


@pytest.fixture(scope="module")
def bundles(
    log_file: Path, shop: Shop, tmp_path_factory: pytest.TempPathFactory
) -> dict[str, tuple[Bundle, list[Outputs]]]:
    """Of every architecture a bundle, of some in bfloat16 too, and for every user what training's evaluation gives."""
    folder = tmp_path_factory.mktemp("bundles")
    with process_group():
        return {
            f"{model}-{precision}": _exported(folder / f"{model}-{precision}", model, precision, log_file, shop)
            for model in MODELS
            for precision in (("fp32", "bf16") if model in LOWERED else ("fp32",))
        }


def _exported(
    path: Path, model: str, precision: str, log_file: Path, shop: Shop, engines: Sequence[str] = ()
) -> tuple[Bundle, list[Outputs]]:
    settings = deepcopy(SETTINGS)
    settings["model"] = MODELS[model]
    settings["export"] |= {"precision": precision, "golden_rows": 105, "engines": engines, **UNLIMITED}
    if model == "aitm":  # every step is defined on all impressions
        settings["schema"]["tasks"][1].pop("space")
    if model == "views":
        settings["schema"]["tasks"][2]["features"] = ["city", "price"]
    config = ExperimentConfig.model_validate(settings)
    impressions = Impressions(log_file, config)
    encoder = Encoder.fit(config.data_schema, impressions.rows("train"))
    network = Network(config, encoder, torch.device("cpu"))
    with torch.no_grad():
        for parameter in network.architecture.parameters():
            parameter.mul_(2)  # outputs that differ much from item to item
    calibration = Calibration.identity(config.data_schema)
    bundle = export_bundle(
        path,
        config=config,
        network=network,
        encoder=encoder,
        calibration=calibration,
        impressions=impressions,
        metrics={},
        data={},
        version=path.name,
    )
    assert bundle is not None
    users = range(len(shop.users))
    return bundle, [calibration.apply(dict(outputs_of(network, encoder, shop.rows(user)))) for user in users]


def assert_equal(found: Outputs, expected: Outputs, bundle: Bundle) -> None:
    """Within the tolerance that the bundle records."""
    assert found.keys() == expected.keys() == set(bundle.schema.output_names)
    for name, expected_L in expected.items():
        assert np.ptp(expected_L) > 1e-3, name
        allowed_L = bundle.manifest.golden_tolerance * np.maximum(1.0, np.abs(expected_L))
        assert (np.abs(found[name] - expected_L) <= allowed_L).all(), name


def test_the_bundle_in_process(bundles: dict[str, tuple[Bundle, list[Outputs]]], shop: Shop) -> None:
    for bundle, expected in bundles.values():
        for user, outputs in enumerate(expected):
            assert_equal(bundle.score_rows(shop.rows(user)), outputs, bundle)


@pytest.mark.parametrize(
    ("backend", "workers", "item_table"),
    [
        ("redis", 2, "true"),
        pytest.param("lmdb", 1, "true", marks=pytest.mark.slow),
        pytest.param("lmdb", 2, "false", marks=pytest.mark.slow),
        pytest.param("redis", 1, "false", marks=pytest.mark.slow),
    ],
)
async def test_over_http(
    backend: str,
    workers: int,
    item_table: str,
    bundles: dict[str, tuple[Bundle, list[Outputs]]],
    shop: Shop,
    redis_url: str,
    tmp_path: Path,
) -> None:
    registry = Registry(tmp_path / "registry")
    for number, (bundle, _) in enumerate(bundles.values()):
        registry.publish(bundle.path, activate=number == 0)
    store = f"lmdb:{tmp_path / 'features'}" if backend == "lmdb" else f"{redis_url}?key_prefix=parity-{workers}"
    await fill(store, shop)
    options = ("--registry", str(registry.root), "--store", store, "--workers", str(workers))
    policies = ("--policies", f"sqlite:{tmp_path / 'policies.sqlite'}")
    environment = {"RANKER_ADMIN_TOKEN": TOKEN, "RANKER_ITEM_TABLE__ENABLED": item_table}
    async with program(World(tmp_path), *options, *policies, **environment) as (_, address, _):
        for bundle, expected in bundles.values():
            await activate(address, bundle, workers)
            for user, outputs in enumerate(expected):
                for _ in range(workers):
                    assert_equal(await ranked(address, bundle, shop, user), outputs, bundle)


@pytest.mark.skipif(AOTInductor().unavailable() is not None, reason=str(AOTInductor().unavailable()))
@pytest.mark.parametrize(
    "model", [pytest.param(model, marks=[] if model == "mmoe" else pytest.mark.slow) for model in MODELS]
)
async def test_compiled_over_http(model: str, log_file: Path, shop: Shop, tmp_path: Path) -> None:
    with process_group():
        bundle, expected = _exported(tmp_path / model, model, "bf16", log_file, shop, ["aotinductor"])
    registry = Registry(tmp_path / "registry")
    registry.publish(bundle.path, activate=True)
    store = f"lmdb:{tmp_path / 'features'}"
    await fill(store, shop)
    options = ("--registry", str(registry.root), "--store", store, "--workers", "2")
    policies = ("--policies", f"sqlite:{tmp_path / 'policies.sqlite'}")
    async with program(World(tmp_path), *options, *policies, RANKER_ENGINE="aotinductor") as (_, address, log):
        for user, outputs in enumerate(expected):
            by_torchscript = bundle.score(*by_side(bundle, shop, user))
            for _ in range(2):
                found = await ranked(address, bundle, shop, user)
                assert_equal(found, outputs, bundle)
                assert_equal(found, by_torchscript, bundle)
        assert '"engine": "aotinductor"' in log.read_text()
        assert "scoring by TorchScript" not in log.read_text()


def by_side(bundle: Bundle, shop: Shop, user: int) -> tuple[SideTensors, SideTensors]:
    """One request for every item."""
    rows = shop.rows(user)
    return bundle.encoder.encode_side(rows.slice(0, 1), "request"), bundle.encoder.encode_side(rows, "item")


async def fill(store: str, shop: Shop) -> None:
    """Features of all users and items."""
    async with parse_store(store).build() as features:
        await features.create_view(ViewSchema("user", USER_COLUMNS))
        await features.create_view(ViewSchema("item", ITEM_COLUMNS))
        stored = [{column.name: user[column.name] for column in USER_COLUMNS} for user in shop.users]
        await features.put_many("user", [(f"u{n}", values, None) for n, values in enumerate(stored)])
        await features.put_many("item", [(item, values, None) for item, values in shop.items.items()])


async def activate(address: str, bundle: Bundle, workers: int) -> None:
    """Make a version live in every worker."""
    version = bundle.manifest.version
    async with httpx.AsyncClient(base_url=address, timeout=60) as client:
        response = await client.post(f"/admin/models/{version}/activate", headers=ADMIN)
        assert response.status_code == 200, response.text

        async def live() -> bool:
            text = (await client.get("/metrics")).text
            return f'ranker_model_info{{version="{version}"}} {workers:.1f}' in text

        await eventually(live)


async def ranked(address: str, bundle: Bundle, shop: Shop, user: int) -> Outputs:
    """What `/rank` answers, on a connection of its own, which any worker may take; in the order of the items."""
    items = list(shop.items)
    body = {"user_id": f"u{user}", "context": {"hour": shop.users[user]["hour"]}, "candidates": items}
    async with httpx.AsyncClient(base_url=address, timeout=60) as client:
        answer = (await client.post("/rank", json=body)).json()
    assert (answer["model_version"], answer["degraded"]) == (bundle.manifest.version, [])
    assert answer["missing"] == {"user": False, "items": 0}
    by_item = {entry["item_id"]: entry["outputs"] for entry in answer["ranking"]}
    return {name: np.array([by_item[item][name] for item in items]) for name in bundle.schema.output_names}
