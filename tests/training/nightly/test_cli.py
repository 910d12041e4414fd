"""`ranker-train nightly`, `runs` and `rollback`: exit codes and what they print."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from prometheus_client.parser import text_string_to_metric_families
from typer.testing import CliRunner, Result

from tests.training.nightly.conftest import FIRST, SECOND, Shop
from tests.training.nightly.test_job import with_zeros
from training.cli import app
from training.nightly import Outcome


def run(*arguments: str) -> Result:
    return CliRunner().invoke(app, list(arguments))


def test_done_again_exits_the_same(open_shop: Shop) -> None:
    result = run(*open_shop.command(FIRST))
    assert result.exit_code == 0
    assert "is done: published" in result.stderr
    folder = open_shop.runs / FIRST.isoformat()
    open_shop.record(FIRST.isoformat()).ended(Outcome.CHAMPION_KEPT, "").save(folder)
    assert run(*open_shop.command(FIRST)).exit_code == 3


def test_json_lines_and_metrics_of_a_night_with_bad_data(shop: Shop) -> None:
    for file in shop.own_data().glob("*/*.parquet"):
        with_zeros(file, "conversion")
    metrics = shop.root / "collected" / "ranker.prom"
    result = run(*shop.command(FIRST, "--json-logs", "--metrics", str(metrics)))
    assert result.exit_code == 2
    lines = [json.loads(line) for line in result.stderr.splitlines()]
    assert lines == shop.logged(FIRST.isoformat())
    assert [line["event"] for line in lines][:2] == ["started", "stage_started"]
    assert (lines[-1]["event"], lines[-1]["exit_code"], lines[-1]["outcome"]) == ("ended", 2, "bad_data")
    assert {line["date"] for line in lines} == {FIRST.isoformat()}
    families = {family.name: family for family in text_string_to_metric_families(metrics.read_text("utf-8"))}
    outcomes = {sample.labels["outcome"]: sample.value for sample in families["ranker_nightly_outcome"].samples}
    assert [outcome for outcome, value in outcomes.items() if value] == ["bad_data"]


@pytest.mark.parametrize(
    ("more", "said"),
    [
        (("--date", "tomorrow"), "--date must be a date"),
        (("--set", "training.epoch=3"), "training.epoch"),
        (("--config", "nothing.yaml"), "nothing.yaml"),
        (("--data", "nothing"), "nothing"),
        (("--store", "pigeon:1"), "--store"),
        (("--set", "nightly.features=[{view: v, key: k, path: p}]"), "--store"),
    ],
)
def test_bad_arguments_end_in_one_message_and_begin_nothing(more: tuple[str, str], said: str, shop: Shop) -> None:
    result = run(*shop.command(FIRST), *more)
    assert result.exit_code == 2
    assert said in result.stderr
    assert "Traceback" not in result.stderr
    assert not list(shop.runs.glob("2*"))
    assert not shop.registry.versions()


def test_a_file_in_the_way_of_a_folder_is_named(shop: Shop) -> None:
    shop.registry.root.write_text("")
    result = run(*shop.command(FIRST))
    assert result.exit_code == 1
    assert str(shop.registry.root) in result.stderr


def test_the_default_date_is_yesterday(shop: Shop) -> None:
    yesterday = datetime.now(UTC).date() - timedelta(days=1)
    arguments = [argument for argument in shop.command(FIRST) if argument not in ("--date", FIRST.isoformat())]
    result = run(*arguments)
    assert result.exit_code == 2
    assert f"days up to {yesterday}" in result.stderr


def test_metrics_that_cannot_be_written_do_not_change_the_outcome(open_shop: Shop) -> None:
    (open_shop.runs / FIRST.isoformat() / "report.html").unlink()
    (open_shop.root / "file").write_text("")
    result = run(*open_shop.command(FIRST, "--metrics", str(open_shop.root / "file" / "ranker.prom")))
    assert result.exit_code == 0
    assert "cannot be written" in result.stderr
    assert (open_shop.runs / FIRST.isoformat() / "report.html").exists()


def test_runs_lists_past_nights(shop_of_two: Shop, tmp_path: Path) -> None:
    result = run("runs", "--runs", str(shop_of_two.runs))
    assert result.exit_code == 0
    first, second = (line for line in result.stdout.splitlines() if "2026-01-0" in line and "│" in line)
    assert "20260102-1-" in first
    assert "20260103-1-" in second
    assert "published" in first
    assert "ctr 0." in first
    last = run("runs", "--runs", str(shop_of_two.runs), "--last", "1").stdout
    assert "20260102-1-" not in last
    assert "20260103-1-" in last
    missing = run("runs", "--runs", str(tmp_path / "nothing"))
    assert missing.exit_code == 2
    assert "nothing" in missing.stderr


def test_rollback_goes_back_and_the_next_night_goes_on_from_there(shop_of_two: Shop) -> None:
    first, second = (info.version for info in shop_of_two.registry.versions())
    result = run("rollback", "--registry", str(shop_of_two.registry.root))
    assert result.exit_code == 0
    assert first in result.stdout
    assert second in result.stdout
    assert shop_of_two.registry.current() == first
    assert shop_of_two.night(SECOND).outcome is Outcome.PUBLISHED  # done stays done
    assert shop_of_two.registry.current() == first
    assert run("rollback", "--registry", str(shop_of_two.registry.root)).exit_code == 2
    assert run("rollback", "--registry", str(shop_of_two.registry.root), "--to", second).exit_code == 0
    assert shop_of_two.registry.current() == second
    assert run("rollback", "--registry", str(shop_of_two.registry.root), "--to", "nothing").exit_code == 2
