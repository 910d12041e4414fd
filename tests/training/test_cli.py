"""`ranker-train`: what it prints, what it leaves, and that bad input ends in one message and exit code 2."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import yaml
from typer.testing import CliRunner, Result

from ranker.bundle import Bundle
from ranker.registry import Registry
from training.cli import app
from training.run import RunResult

Settings = dict[str, Any]
Prepare = Callable[["Input"], object]


def run(*arguments: str | Path) -> Result:
    return CliRunner().invoke(app, [str(argument) for argument in arguments])


class Input:
    """A config and a log that are right, until a test makes them wrong."""

    def __init__(self, folder: Path, settings: Settings, table: pa.Table) -> None:
        self.settings, self.table = settings, table
        self.config, self.data, self.out = folder / "experiment.yaml", folder / "log.parquet", folder / "runs" / "one"
        self.extra: list[str] = []
        self.write()

    def write(self) -> None:
        self.config.write_text(yaml.safe_dump(self.settings), encoding="utf-8")
        pq.write_table(self.table, self.data, row_group_size=97)

    def column(self, name: str, values: Any) -> None:
        place = self.table.column_names.index(name)
        self.table = self.table.set_column(place, name, pa.array(values))
        self.write()

    def value(self, name: str, value: Any) -> None:
        self.column(name, [*self.table[name].to_pylist()[:-1], value])

    def change(self, *path: str, **values: Any) -> None:
        section = self.settings
        for part in path:
            section = section[part]
        section.update(values)
        self.write()

    def drop(self, name: str) -> None:
        self.table = self.table.drop_columns(name)
        self.write()

    def train(self) -> Result:
        return run("train", self.config, "--data", self.data, "--out", self.out, *self.extra)


@pytest.fixture
def given(tmp_path: Path, settings: Settings, log_table: pa.Table) -> Input:
    return Input(tmp_path, settings, log_table)


BAD_INPUT: dict[str, tuple[Prepare, list[str]]] = {
    "no data": (lambda g: g.data.unlink(), ["log.parquet", "does not exist"]),
    "unreadable data": (lambda g: g.data.write_bytes(b"user,item\n1,2\n"), ["log.parquet", "not readable Parquet"]),
    "truncated data": (
        lambda g: g.data.write_bytes(g.data.read_bytes()[:-1000]),
        ["log.parquet", "truncated"],
    ),
    "missing column": (lambda g: g.drop("price"), ["log.parquet", "'price'", "add the column"]),
    "a task no column feeds": (lambda g: g.drop("buy"), ["log.parquet", "'buy'", "correct the config"]),
    "wrong type": (lambda g: g.column("price", ["cheap"] * 700), ["log.parquet", "'price'", "'cheap'", "convert"]),
    "label not 0 or 1": (lambda g: g.value("click", 2), ["log.parquet", "'click'", "got 2", "map it to 0 and 1"]),
    "label used as a feature": (
        lambda g: g.change("schema", features=[{"name": "buy", "side": "item", "kind": "numeric"}]),
        ["experiment.yaml", "'buy'", "remove the feature"],
    ),
    "an all-null column": (
        lambda g: g.column("city", pa.nulls(700, pa.string())),
        ["log.parquet", "'city'", "no value in any training row", "remove the feature"],
    ),
    "an all-NaN column": (lambda g: g.column("price", [float("nan")] * 700), ["log.parquet", "'price'", "no value"]),
    "infinite number": (lambda g: g.value("price", float("inf")), ["log.parquet", "'price'", "inf", "null"]),
    "infinite label": (lambda g: g.value("spend", float("-inf")), ["log.parquet", "'spend'", "-inf", "null"]),
    "no rows in a sample space": (
        lambda g: g.column("click", [0] * 700),
        ["log.parquet", "'cvr'", "click = 1", "remove the task"],
    ),
    "empty split": (lambda g: g.column("split", ["train"] * 700), ["log.parquet", "'valid'", "training.split"]),
    "unknown key": (lambda g: g.change("training", epoch=3), ["experiment.yaml", "training.epoch", "unknown key"]),
    "value out of range": (lambda g: g.change("training", epochs=0), ["experiment.yaml", "training.epochs", "got 0"]),
    "not YAML": (lambda g: g.config.write_text("schema: ["), ["experiment.yaml", "not YAML"]),
    "no config": (lambda g: g.config.unlink(), ["experiment.yaml", "cannot be read"]),
    "--set without value": (lambda g: g.extra.extend(["--set", "training.seed"]), ["training.seed", "key=value"]),
    "--set of an unknown key": (lambda g: g.extra.extend(["--set", "training.sed=1"]), ["training.sed", "unknown key"]),
}


@pytest.mark.parametrize("name", BAD_INPUT)
def test_bad_input_is_named_and_leaves_nothing(name: str, given: Input) -> None:
    prepare, words = BAD_INPUT[name]
    prepare(given)
    before = sorted(given.config.parent.rglob("*"))
    result = given.train()
    assert result.exit_code == 2, result.output
    for word in words:
        assert word in result.stderr
    assert result.stderr.startswith("error: ")
    assert "Traceback" not in result.output
    assert sorted(given.config.parent.rglob("*")) == before


@pytest.mark.parametrize("name", ["truncated data", "an all-null column", "infinite number", "unknown key"])
def test_check_finds_the_same(name: str, given: Input) -> None:
    prepare, words = BAD_INPUT[name]
    prepare(given)
    result = run("check", given.config, "--data", given.data)
    assert result.exit_code == 2
    for word in words:
        assert word in result.stderr


def test_check_says_what_there_is(given: Input) -> None:
    result = run("check", given.config, "--data", given.data)
    assert result.exit_code == 0, result.output
    assert "train: 490 rows; labelled: ctr 490, cvr " in result.stdout
    assert "config and data agree" in result.stdout


def test_used_out_folder(given: Input, trained: RunResult, run_folder: Path) -> None:
    given.out = run_folder
    result = given.train()
    assert result.exit_code == 2
    assert str(run_folder) in result.stderr
    assert "choose another --out" in result.stderr


def test_divergence_is_exit_code_1(given: Input) -> None:
    given.extra += ["--set", "training.dense.learning_rate=1e30", "--set", "training.dense.max_gradient_norm=null"]
    given.extra += ["--set", "training.max_bad_steps=1"]
    result = given.train()
    assert result.exit_code == 1
    assert "not finite" in result.stderr
    assert "Traceback" not in result.output


def test_train_evaluate_publish(given: Input) -> None:
    registry = given.out.parent / "registry"
    given.extra += ["--registry", str(registry), "--set", "training.epochs=1"]
    result = given.train()
    assert result.exit_code == 0, result.output
    bundle = Bundle.load(given.out / "bundle")
    assert bundle.manifest.version in result.stdout
    assert Registry(registry).current() == bundle.manifest.version
    assert "ctcvr" in result.stdout

    scores = given.out.parent / "scores.parquet"
    judged = run(
        *("evaluate", given.out / "bundle", "--config", given.out / "config.yaml", "--data", given.data),
        *("--scores", scores, "--json", "--split", "valid"),
    )
    assert judged.exit_code == 0, judged.output
    report = json.loads(judged.stdout)
    assert report["num_rows"] == pq.read_metadata(scores).num_rows == 105
    assert set(report["outputs"]) == {"ctr", "cvr", "spend", "ctcvr"}

    again = run("publish", given.out / "bundle", "--registry", registry)
    assert again.exit_code == 2
    assert "published already" in again.stderr
    other = run("publish", given.out / "bundle", "--registry", given.out.parent / "other")
    assert other.exit_code == 0
    assert "it is now current" in other.stdout


def test_a_table_in_a_pipe_shows_every_column(given: Input, trained: RunResult, run_folder: Path) -> None:
    result = run("evaluate", run_folder / "bundle", "--config", given.config, "--data", given.data)
    assert result.exit_code == 0, result.output
    assert "…" not in result.stdout
    assert "ndcg@10" in result.stdout


@pytest.mark.parametrize("file", ["model.pt", "schema.json", "golden.parquet", "encoder/numeric.json"])
def test_one_changed_byte(file: str, given: Input, trained: RunResult, run_folder: Path, tmp_path: Path) -> None:
    copy = tmp_path / "bundle"
    shutil.copytree(run_folder / "bundle", copy)
    content = bytearray((copy / file).read_bytes())
    content[len(content) // 2] ^= 1
    (copy / file).write_bytes(content)
    registry = tmp_path / "registry"
    for result in (
        run("evaluate", copy, "--config", given.config, "--data", given.data),
        run("publish", copy, "--registry", registry),
    ):
        assert result.exit_code == 2, result.output
        assert file in result.stderr
    assert not (registry / "current.json").exists()


@pytest.mark.parametrize(
    ("arguments", "word"),
    [
        (("--split", "dev"), "--split must be one of train, valid, test, got 'dev'"),
        (("--scores", "nowhere/scores.parquet"), "--scores must lie in an existing folder"),
    ],
)
def test_wrong_options_of_evaluate(
    arguments: tuple[str, ...], word: str, given: Input, trained: RunResult, run_folder: Path
) -> None:
    result = run("evaluate", run_folder / "bundle", "--config", given.config, "--data", given.data, *arguments)
    assert result.exit_code == 2
    assert word in result.stderr


@pytest.mark.parametrize("command", ["evaluate", "publish"])
def test_no_bundle(command: str, given: Input, tmp_path: Path) -> None:
    rest = ("--config", given.config, "--data", given.data) if command == "evaluate" else ("--registry", tmp_path / "r")
    result = run(command, tmp_path / "none", *rest)
    assert result.exit_code == 2
    assert "none" in result.stderr
    assert "Traceback" not in result.output


@pytest.mark.parametrize("command", ["simulate", "check", "train", "evaluate", "publish"])
def test_every_command_has_help_with_an_example(command: str) -> None:
    result = run(command, "--help")
    assert result.exit_code == 0
    assert f"ranker-train {command}" in " ".join(result.stdout.split())


def test_help_does_not_import_torch(repository: Path) -> None:
    code = (
        "import sys; from training.cli import app\n"
        "try: app(['--help'])\n"
        "except SystemExit: pass\n"
        "print(*[name for name in ('torch', 'torchrec', 'pandas', 'tensorboard') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=repository, capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == ""


def test_a_real_process_ends_with_code_2_and_one_message(given: Input, repository: Path) -> None:
    given.drop("price")
    arguments = ["train", str(given.config), "--data", str(given.data), "--out", str(given.out)]
    done = subprocess.run(
        [sys.executable, "-m", "training.cli", *arguments], cwd=repository, capture_output=True, text=True, check=False
    )
    assert done.returncode == 2
    assert done.stdout == ""
    assert done.stderr.startswith("error: file ")
    assert len(done.stderr.strip().splitlines()) == 1
    assert not given.out.parent.exists()


def test_simulate_refuses_wrong_settings(tmp_path: Path) -> None:
    result = run("simulate", "--out", tmp_path / "log", "--correlation", "7")
    assert result.exit_code == 2
    assert "task_correlation" in result.stderr
    assert not (tmp_path / "log").exists()


def test_simulate_tells_the_best_auc_also_without_test_days(tmp_path: Path) -> None:
    small = ("--impressions", "2000", "--users", "50", "--items", "40", "--days", "2")
    result = run("simulate", "--out", tmp_path / "log", *small, "--set", "test_days=0", "--set", "valid_days=1")
    assert result.exit_code == 0, result.output
    assert "on all days: ctr 0." in result.stdout
