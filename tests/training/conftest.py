"""One tiny experiment that has everything: all feature kinds and sides, a shared table, three tasks, a product."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from copy import deepcopy
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
import yaml

from ranker.encoding import Encoder
from training.config import ExperimentConfig
from training.data import Impressions
from training.distributed import process_group
from training.progress import Progress
from training.run import RunResult, train

Settings = dict[str, Any]

NUM_ROWS = 700
ROW_GROUP = 97  # no divisor of anything else here

# Widths and table sizes are pairwise different, so that no mix-up can go unseen.
SETTINGS: Settings = {
    "schema": {
        "ids": {"user": "user_id", "item": "item_id", "request": "request_id", "timestamp": "time"},
        "embedding_dim": 16,
        "tables": {"items": {"encoding": {"kind": "vocabulary", "min_count": 1}, "embedding_dim": 12}},
        "features": [
            {"name": "city", "side": "user", "kind": "categorical", "embedding_dim": 20},
            {"name": "history", "side": "user", "kind": "categorical_list", "table": "items", "pooling": "mean"},
            {"name": "last_three", "side": "user", "kind": "categorical_list", "table": "items", "pooling": "sum",
             "source": "history", "max_length": 3},
            {"name": "age", "side": "user", "kind": "numeric", "transforms": ["bucketize"], "num_buckets": 7,
             "embedding_dim": 8},
            {"name": "hour", "side": "context", "kind": "numeric", "missing_indicator": True},
            {"name": "item", "side": "item", "kind": "categorical", "table": "items", "source": "item_id"},
            {"name": "tags", "side": "item", "kind": "categorical_list", "pooling": "sum", "embedding_dim": 4,
             "encoding": {"kind": "hash", "num_buckets": 11}},
            {"name": "price", "side": "item", "kind": "numeric", "transforms": ["log1p", "standardize"]},
        ],
        "tasks": [
            {"name": "ctr", "label": "click"},
            {"name": "cvr", "label": "buy", "space": {"where": {"click": 1}}},
            {"name": "spend", "label": "spend", "kind": "regression"},
        ],
        "outputs": {"ctcvr": "ctr * cvr"},
    },
    "model": {"name": "mmoe", "num_experts": 4, "expert_dims": [9], "tower_dims": [8]},
    "training": {
        "split": {"by": "column", "column": "split"},
        "epochs": 3,
        "batch_size": 64,
        "eval_batch_size": 50,
        "shuffle_rows": 130,
        "dense": {"learning_rate": 0.01},
        "tables": {"name": "rowwise_adagrad", "learning_rate": 0.05},
        "early_stopping": {"patience": 3},
        "seed": 5,
    },
    "export": {"golden_rows": 17, "tolerance": 1.0e-6, "precision": "fp32"},
    "fusion": {"terms": [{"output": "ctcvr", "weight": 0.7}, {"output": "ctr", "weight": 0.3}]},
}  # fmt: skip


MODELS: Settings = {
    "single_task": {"name": "single_task", "tower_dims": [18, 15]},
    "shared_bottom": {"name": "shared_bottom", "tower_dims": [18]},
    "soft_sharing": {"name": "soft_sharing", "bottom_dims": [13, 9], "strength": 0.1},
    "mmoe": {"name": "mmoe", "num_experts": 5, "expert_dims": [9, 7], "tower_dims": [17]},
    "snr": {"name": "snr", "num_subnetworks": 3, "subnetwork_dims": [[13], [9]], "tower_dims": [17]},
    "ple": {"name": "ple", "tower_dims": [17]},
    "stem": {"name": "stem", "num_specific_experts": 3, "expert_dims": [9, 7], "gate_dims": [13], "tower_dims": [17]},
    "esmm": {"name": "esmm", "chain": ["ctr", "cvr"], "bottom_dims": [13, 9], "tower_dims": [18]},
    "escm2": {"name": "escm2", "variant": "dr", "chain": ["ctr", "cvr"], "bottom_dims": [13], "tower_dims": [18]},
    "aitm": {"name": "aitm", "chain": ["ctr", "cvr"], "bottom_dims": [13], "tower_dims": [18]},
    "views": {"name": "mmoe", "num_experts": 5, "expert_dims": [9], "align_tasks": True, "expert_norm": "layer"},
}


@pytest.fixture
def settings() -> Settings:
    """The experiment as the content of its YAML; each test may change its own copy."""
    return deepcopy(SETTINGS)


@pytest.fixture(params=MODELS)
def of_each_model(request: pytest.FixtureRequest, settings: Settings) -> Settings:
    """The experiment with each architecture in turn, and what that wants of the tasks."""
    settings["model"] = deepcopy(MODELS[request.param])
    tasks = settings["schema"]["tasks"]
    if request.param == "aitm":  # every step is defined on all impressions
        tasks[1].pop("space")
    if request.param == "views":
        tasks[2]["features"] = ["city", "price"]
    return settings


@pytest.fixture(scope="session")
def log_table() -> pa.Table:
    """Rows with nulls and empty lists, whose labels depend on the features."""
    return make_log(NUM_ROWS, seed=8)


@pytest.fixture(scope="session")
def log_file(log_table: pa.Table, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same rows as a Parquet file of several row groups."""
    path = tmp_path_factory.mktemp("log") / "log.parquet"
    pq.write_table(log_table, path, row_group_size=ROW_GROUP)
    return path


@pytest.fixture(scope="session")
def config() -> ExperimentConfig:
    """The experiment as it is."""
    return ExperimentConfig.model_validate(SETTINGS)


@pytest.fixture(scope="session")
def encoder(config: ExperimentConfig, log_file: Path) -> Encoder:
    """Fitted on the training rows."""
    return Encoder.fit(config.data_schema, Impressions(log_file, config).rows("train"))


@pytest.fixture(scope="session")
def run_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where `trained` leaves its files; read-only for tests."""
    return tmp_path_factory.mktemp("runs") / "first"


@pytest.fixture(scope="session")
def trained(config: ExperimentConfig, log_file: Path, run_folder: Path) -> RunResult:
    """A whole training run."""
    torch.manual_seed(0)
    return train(config, log_file, run_folder, Progress(quiet=True))


@pytest.fixture
def group() -> Iterator[None]:
    """A process group of this process alone."""
    with process_group():
        yield


@pytest.fixture(scope="session")
def in_two_processes(repository: Path) -> Callable[..., list[str]]:
    """Runs `python ARGUMENTS` as ranks 0 and 1 of a real gloo group on loopback; returns what each printed."""

    def run(*arguments: str, expect: int = 0) -> list[str]:
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            port = str(probe.getsockname()[1])
        shared = {
            **os.environ,
            "WORLD_SIZE": "2",
            "MASTER_ADDR": "127.0.0.1",
            "MASTER_PORT": port,
            "GLOO_SOCKET_IFNAME": "lo",
            "OMP_NUM_THREADS": "1",
            "PYTHONPATH": str(repository),
        }
        processes = [
            subprocess.Popen(
                [sys.executable, "-W", "ignore", *arguments],
                env={**shared, "RANK": rank, "LOCAL_RANK": rank},
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                text=True,
            )
            for rank in ("0", "1")
        ]
        try:
            printed = [process.communicate(timeout=200)[0] for process in processes]
        finally:
            for process in processes:
                process.kill()
        assert [process.returncode for process in processes] == [expect, expect], "\n".join(printed)
        return printed

    return run


@pytest.fixture
def write_config(tmp_path: Path) -> Callable[[Settings], Path]:
    """Writes settings as a YAML file."""

    def write(content: Settings) -> Path:
        path = tmp_path / "experiment.yaml"
        path.write_text(yaml.safe_dump(content), encoding="utf-8")
        return path

    return write


def make_log(num_rows: int, seed: int) -> pa.Table:
    """Rows of a log; the last two tenths are for validation and test."""
    random = np.random.default_rng(seed)
    cities, items = random.integers(0, 9, num_rows), random.integers(0, 23, num_rows)
    taste_city, taste_item = random.normal(size=9), random.normal(size=23)
    price = random.gamma(2.0, 5.0, num_rows)
    logit = 1.5 * taste_city[cities] + 1.5 * taste_item[items] - 0.05 * price
    click = (random.random(num_rows) < 1 / (1 + np.exp(-logit))).astype(np.int64)
    buy = click * (random.random(num_rows) < 1 / (1 + np.exp(-taste_item[items])))
    place = np.arange(num_rows) / num_rows
    return pa.table(
        {
            "user_id": random.integers(0, 61, num_rows),
            "item_id": [f"i{item}" for item in items],
            "request_id": np.arange(num_rows) // 5,
            "time": np.arange(num_rows) * 60,
            "split": np.select([place < 0.7, place < 0.85], ["train", "valid"], "test"),
            "city": [None if city == 0 else f"c{city}" for city in cities],
            "history": [
                None if num == 5 else [f"i{item}" for item in random.integers(0, 23, num)]
                for num in random.integers(0, 6, num_rows)
            ],
            "age": [None if age < 18 else int(age) for age in random.integers(10, 80, num_rows)],
            "hour": [None if hour == 24 else float(hour) for hour in random.integers(0, 25, num_rows)],
            "tags": [[f"t{tag}" for tag in random.integers(0, 15, num)] for num in random.integers(0, 4, num_rows)],
            "price": price,
            "click": click,
            "buy": buy.astype(np.int64),
            "spend": [float(value) if bought else None for value, bought in zip(price / 10, click, strict=True)],
        }
    )
