"""The command line: what it prints, and code 2 with a message on bad input."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from typer.testing import CliRunner, Result

import feature_store
from feature_store.cli import app

Invoke = Callable[..., Result]


@pytest.fixture
def invoke(store_text: str) -> Invoke:
    """Runs a command with the store that the test is about."""

    def run(command: str, *arguments: str | Path, store: str = store_text) -> Result:
        return CliRunner().invoke(app, [command, "--store", store, *map(str, arguments)])

    return run


@pytest.fixture
def items(tmp_path: Path) -> Path:
    """Three items, one of them twice."""
    path = tmp_path / "items.parquet"
    columns = {"id": ["a", "b", "a", "é"], "price": [1.0, 2.0, 3.0, None], "at": [2, 2, 1, 2]}
    pq.write_table(pa.table(columns), path)
    return path


@pytest.fixture
def filled(invoke: Invoke, items: Path) -> None:
    """The store, holding those items."""
    assert invoke("materialize", "--view", "item", "--key", "id", "--event-time", "at", items).exit_code == 0


def lines(result: Result) -> list[dict[str, Any]]:
    assert result.exit_code == 0, result.output
    return [json.loads(line) for line in result.stdout.splitlines()]


def test_materialize_says_what_it_did(invoke: Invoke, items: Path) -> None:
    result = invoke("materialize", "--view", "item", "--key", "id", "--columns", "price", items)
    assert result.exit_code == 0
    assert result.stdout == "view 'item': 3 entities written from 4 rows, 1 columns\n"
    assert result.stderr.splitlines() == ["checking: 4 of 4 rows", "writing: 4 of 4 rows"]


@pytest.mark.usefixtures("filled")
def test_get(invoke: Invoke) -> None:
    assert lines(invoke("get", "--view", "item", "é", "nobody", "a")) == [
        {"id": "é", "values": {"price": None, "at": 2}, "event_time": 2.0},
        {"id": "nobody", "values": None, "event_time": None},
        {"id": "a", "values": {"price": 1.0, "at": 2}, "event_time": 2.0},
    ]


@pytest.mark.usefixtures("filled")
def test_put(invoke: Invoke) -> None:
    assert invoke("put", "--view", "item", "--event-time", "7", "new", '{"price": 5}').exit_code == 0
    expected = [{"id": "new", "values": {"price": 5.0, "at": None}, "event_time": 7.0}]
    assert lines(invoke("get", "--view", "item", "new")) == expected


@pytest.mark.usefixtures("filled")
def test_stats(invoke: Invoke) -> None:
    (line,) = lines(invoke("stats"))
    assert line.pop("num_bytes") > 0
    assert line == {
        "view": "item",
        "schema": {"price": "float", "at": "int"},
        "num_rows": 3,
        "num_rows_of_older_schema": 0,
        "num_expired_rows": 0,
        "oldest_event_time": 2.0,
        "newest_event_time": 2.0,
    }
    assert lines(invoke("stats", "--view", "item"))[0]["num_rows"] == 3


@pytest.mark.usefixtures("filled")
@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["get", "--view", "itme", "a"], "view 'itme' is not in the store, which has ['item']"),
        (["stats", "--view", "itme"], "view 'itme' is not in the store"),
        (["put", "--view", "item", "a", "{price: 1}"], "JSON must be an object of values by column"),
        (["put", "--view", "item", "a", "[1]"], "JSON must be an object of values by column"),
        (["put", "--view", "item", "a", '{"price": "x"}'], "entity 'a': column 'price' must be float or null"),
        (["put", "--view", "item", "a", '{"prise": 1}'], "column 'prise' (value 1) must be one of ['price', 'at']"),
        (["put", "--view", "item", "", "{}"], "entity id must not be empty"),
        (["put", "--view", "item", "--ttl-seconds", "0", "a", "{}"], "must be greater than 0"),
        (["put", "--view", "item", "--event-time", "nan", "a", "{}"], "event time must be finite"),
        (["materialize", "--view", "item", "--key", "id", "absent.parquet"], "'absent.parquet' does not exist"),
        (["get", "--view", "item"], "Missing argument"),
    ],
)
def test_bad_input_ends_with_code_2(invoke: Invoke, arguments: list[str], message: str) -> None:
    before = lines(invoke("stats"))
    result = invoke(*arguments)
    assert result.exit_code == 2
    assert message in result.stderr
    assert "Traceback" not in result.output
    assert lines(invoke("stats")) == before


@pytest.mark.usefixtures("filled")
def test_other_columns_need_a_word(invoke: Invoke, tmp_path: Path) -> None:
    wider = tmp_path / "wider.parquet"
    pq.write_table(pa.table({"id": ["a"], "brand": ["x"]}), wider)
    arguments = ("materialize", "--view", "item", "--key", "id", wider)
    refused = invoke(*arguments)
    assert refused.exit_code == 2
    assert "new column 'brand'; without column 'price'; without column 'at'" in refused.stderr
    assert invoke(*arguments, "--replace-schema").exit_code == 0
    assert [line["values"] for line in lines(invoke("get", "--view", "item", "a", "b"))] == [
        {"brand": "x"},
        {"price": 2.0, "at": 2},
    ]


@pytest.mark.parametrize("store", ["lmdb:absent/store", "redis://127.0.0.1:1/0?num_retries=0", "sqlite:x"])
def test_a_store_that_is_not_there_ends_with_code_2(
    tmp_path: Path, store: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    for arguments in (["get", "--view", "item", "a"], ["stats"], ["put", "--view", "item", "a", "{}"]):
        result = CliRunner().invoke(app, [*arguments, "--store", store])
        assert result.exit_code == 2
        assert result.stderr.startswith("Error: ")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("command", [[], ["materialize"], ["get"], ["put"], ["stats"]])
def test_help_shows_examples(command: list[str]) -> None:
    result = CliRunner().invoke(app, [*command, "--help"], terminal_width=200)
    assert result.exit_code == 0
    assert not command or f"ranker-features {command[0]} --store lmdb:data/features" in result.output


def test_a_real_process(tmp_path: Path, items: Path) -> None:
    def run(*arguments: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-m", "feature_store.cli", *arguments],
            cwd=Path(feature_store.__file__).parents[1],
            env={**os.environ, "RANKER_FEATURES_STORE": f"lmdb:{tmp_path / 'store'}"},
            capture_output=True,
            text=True,
            check=False,
        )

    materialize = ("materialize", "--view", "item", "--key", "id", str(items))
    done = run(*materialize)
    assert (done.returncode, done.stdout) == (0, "view 'item': 3 entities written from 4 rows, 2 columns\n")
    items.write_bytes(items.read_bytes()[:-20])
    broken = run(*materialize)
    assert (broken.returncode, broken.stdout) == (2, "")
    assert broken.stderr.startswith(f"Error: file '{items}' is not a readable Parquet file")
    assert "Traceback" not in broken.stderr
    assert json.loads(run("get", "--view", "item", "a").stdout)["values"] == {"price": 3.0, "at": 1}


def test_a_terminal_gets_a_bar(store_text: str, items: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FORCE_COLOR", "1")  # rich takes this for a terminal
    arguments = ["materialize", "--store", store_text, "--view", "item", "--key", "id", str(items)]
    result = CliRunner().invoke(app, arguments)
    assert result.exit_code == 0
    assert "writing rows" in result.stderr
    assert "4/4" in result.stderr
