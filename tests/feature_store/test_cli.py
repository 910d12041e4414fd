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
        {"id": "é", "values": {"price": None, "at": 2}, "event_time": 2.0, "expires_at": None},
        {"id": "nobody", "values": None, "event_time": None, "expires_at": None},
        {"id": "a", "values": {"price": 1.0, "at": 2}, "event_time": 2.0, "expires_at": None},
    ]


@pytest.mark.usefixtures("filled")
def test_put(invoke: Invoke) -> None:
    assert invoke("put", "--view", "item", "--event-time", "7", "new", '{"price": 5}').exit_code == 0
    expected = {"id": "new", "values": {"price": 5.0, "at": None}, "event_time": 7.0, "expires_at": None}
    assert lines(invoke("get", "--view", "item", "new")) == [expected]


@pytest.mark.usefixtures("filled")
def test_update_and_delete(invoke: Invoke) -> None:
    result = invoke("update", "--view", "item", "--ttl-seconds", "3600", "a", '{"price": 7}')
    assert (result.exit_code, result.stdout) == (0, "view 'item': entity 'a' updated\n")
    (row,) = lines(invoke("get", "--view", "item", "a"))
    assert (row["values"], row["event_time"]) == ({"price": 7.0, "at": 2}, 2.0)
    assert row["expires_at"] > 0
    result = invoke("delete", "--view", "item", "a", "nobody", "b")
    assert (result.exit_code, result.stdout) == (0, "view 'item': 2 of 3 rows removed\n")
    assert [line["values"] for line in lines(invoke("get", "--view", "item", "a", "b"))] == [None, None]


@pytest.mark.usefixtures("filled")
def test_export_and_import_give_the_same_rows(invoke: Invoke, items: Path, tmp_path: Path) -> None:
    result = invoke("export", "--view", "item", "--key", "id", "--event-time", "when", tmp_path / "out.parquet")
    assert result.stdout == f"view 'item': 3 rows written to '{tmp_path / 'out.parquet'}'\n"
    arguments = ("--view", "copy", "--key", "id", "--event-time", "when", "--columns", "price,at")
    assert invoke("import", *arguments, tmp_path / "out.parquet").exit_code == 0
    before, after = (lines(invoke("get", "--view", view, "a", "b", "é")) for view in ("item", "copy"))
    assert before == after
    against = ("--against", items, "--key", "id", "--event-time", "at")
    (found,) = lines(invoke("verify", "--view", "copy", *against))
    assert found == {
        "view": "copy",
        "num_rows": 3,
        "num_expired_rows": 0,
        "num_compared_rows": 3,
        "num_faults": 0,
        "faults": [],
    }


@pytest.mark.usefixtures("filled")
def test_verify_ends_with_code_1_and_a_list_of_faults(invoke: Invoke, items: Path) -> None:
    assert lines(invoke("verify"))[0]["num_faults"] == 0
    assert invoke("update", "--view", "item", "a", '{"price": 7}').exit_code == 0
    assert invoke("delete", "--view", "item", "b").exit_code == 0
    result = invoke("verify", "--view", "item", "--against", items, "--key", "id")
    assert result.exit_code == 1
    assert json.loads(result.stdout)["faults"] == [
        "view 'item', entity 'b': the files have a row, the store has none",
        "view 'item', entity 'a': column 'price' is 7.0, the files have 3.0",
    ]


@pytest.mark.usefixtures("filled")
def test_sweep(invoke: Invoke, items: Path) -> None:
    assert invoke("sweep").stdout == "view 'item': 0 rows removed\n"
    other = ("--view", "item", "--key", "id", "--columns", "price", "--replace-schema")
    assert invoke("materialize", *other, items).exit_code == 0
    assert invoke("materialize", "--view", "user", "--key", "id", "--columns", "price", items).exit_code == 0
    assert invoke("put", "--view", "item", "new", "{}").exit_code == 0
    assert invoke("sweep", "--older-schemas").stdout == "view 'item': 0 rows removed\nview 'user': 0 rows removed\n"
    assert invoke("materialize", *other[:4], "--columns", "at", "--replace-schema", items).exit_code == 0
    assert invoke("sweep", "--older-schemas", "--view", "item").stdout == "view 'item': 1 rows removed\n"


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
        (["update", "--view", "item", "a", '{"price": "x"}'], "entity 'a': column 'price' must be float or null"),
        (["export", "--view", "itme", "out.parquet"], "view 'itme' is not in the store"),
        (["export", "--view", "item", "--key", "price", "out.parquet"], "column 'price' is there already"),
        (["export", "--view", "item", "absent/out.parquet"], "file 'absent/out.parquet' cannot be written"),
        (["verify", "--view", "itme"], "view 'itme' is not in the store"),
        (["verify", "--against", "absent.parquet"], "`--against` needs `--view` and `--key`"),
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


@pytest.mark.parametrize("command", [command.name for command in app.registered_commands])
def test_help_shows_examples(command: str) -> None:
    result = CliRunner().invoke(app, [command, "--help"], terminal_width=200)
    assert result.exit_code == 0
    assert command == "import" or f"ranker-features {command} --store lmdb:data/features" in result.output
    assert f" {command} " in CliRunner().invoke(app, ["--help"], terminal_width=200).output


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
