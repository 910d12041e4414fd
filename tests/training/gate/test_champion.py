"""The live bundle against tonight's predictions: paired row by row, under other schemas, and when it is damaged."""

from __future__ import annotations

import shutil
from copy import deepcopy
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from ranker.bundle import Bundle
from ranker.errors import DataError
from training.config import ExperimentConfig
from training.data import Impressions
from training.gate import JudgedRows, Scores, compare_with_champion
from training.gate.champion import read_rows, score_bundle
from training.run import RunResult

GATE = {"min_positives": 5, "min_users": 5, "resamples": 100, "ndcg_at": [3]}


@pytest.fixture
def lenient(settings: dict[str, Any]) -> ExperimentConfig:
    """The experiment with a gate for its few rows."""
    return ExperimentConfig.model_validate(settings | {"gate": GATE})


@pytest.fixture
def champion(trained: RunResult, run_folder: Path) -> Path:
    return run_folder / "bundle"


@pytest.fixture
def challenger(lenient: ExperimentConfig, champion: Path, log_file: Path) -> tuple[JudgedRows, Scores]:
    """The same bundle, as the challenger of itself."""
    impressions = Impressions(log_file, lenient)
    rows = read_rows(lenient, impressions, "test")
    return rows, replace(score_bundle(Bundle.load(champion), lenient, impressions, "test"), version="tonight")


def test_a_bundle_is_equal_to_itself_on_every_metric(
    lenient: ExperimentConfig, champion: Path, log_file: Path, challenger: tuple[JudgedRows, Scores]
) -> None:
    decision = compare_with_champion(lenient, Impressions(log_file, lenient), *challenger, champion)
    assert decision.champion_version == Bundle.load(champion).manifest.version
    assert decision.num_rows == 105
    assert {comparison.output for comparison in decision.comparisons} == {"ctr", "cvr", "spend", "ctcvr"}
    assert {(one.difference, one.interval) for one in decision.comparisons} == {(0.0, (0.0, 0.0))}


def test_scores_of_a_bundle_are_its_own_in_file_order(
    lenient: ExperimentConfig, champion: Path, log_table: pa.Table, challenger: tuple[JudgedRows, Scores]
) -> None:
    rows, scores = challenger
    test_rows = log_table.filter(pa.compute.equal(log_table["split"], "test"))
    for name, values in Bundle.load(champion).score_rows(test_rows).items():
        assert scores.outputs[name] == pytest.approx(values, abs=1e-6)
    assert rows.labels["click"].tolist() == test_rows["click"].to_pylist()
    assert np.asarray(rows.user_ids).tolist() == test_rows["user_id"].to_pylist()
    assert np.asarray(rows.request_ids).tolist() == test_rows["request_id"].to_pylist()


def test_the_first_night_has_floors_only(
    lenient: ExperimentConfig, log_file: Path, challenger: tuple[JudgedRows, Scores]
) -> None:
    decision = compare_with_champion(lenient, Impressions(log_file, lenient), *challenger, None)
    assert decision.comparisons == ()
    assert decision.floors
    assert decision.champion_version is None
    assert not [warning for warning in decision.warnings if "champion" in warning]


def test_a_damaged_champion_is_a_warning_and_floors_judge(
    lenient: ExperimentConfig, champion: Path, log_file: Path, challenger: tuple[JudgedRows, Scores], tmp_path: Path
) -> None:
    damaged = tmp_path / "v7"
    shutil.copytree(champion, damaged)
    (damaged / "calibration.json").write_text("{}")
    decision = compare_with_champion(lenient, Impressions(log_file, lenient), *challenger, damaged)
    assert decision.comparisons == ()
    assert decision.warnings[0].startswith("The champion 'v7' was not compared, floors alone judged: ")
    assert "calibration.json" in decision.warnings[0]


def test_outputs_of_another_schema_are_compared_where_they_mean_the_same(
    settings: dict[str, Any], champion: Path, log_file: Path, challenger: tuple[JudgedRows, Scores]
) -> None:
    tasks = settings["schema"]["tasks"]
    tasks[0]["name"], tasks[1]["space"] = "clicks", "everywhere"
    settings["schema"]["features"].pop(0)  # the champion reads a city that the challenger does not
    settings["schema"]["outputs"] = {}
    settings["fusion"] = {"terms": [{"output": "clicks", "weight": 1.0}, {"output": "cvr", "weight": 1.0}]}
    config = ExperimentConfig.model_validate(settings | {"gate": GATE})
    impressions = Impressions(log_file, config)
    assert "city" not in impressions.columns
    rows, scores = challenger
    outputs = {"clicks": scores.outputs["ctr"], "cvr": scores.outputs["cvr"], "spend": scores.outputs["spend"]}
    decision = compare_with_champion(config, impressions, rows, Scores(outputs, "tonight"), champion)
    assert {comparison.output for comparison in decision.comparisons} == {"clicks", "spend"}
    assert {comparison.difference for comparison in decision.comparisons} == {0.0}
    reasons = {(one.output, one.metric): one.reason for one in decision.not_compared}
    assert "predicts nothing that means the same as 'cvr', binary label 'buy'; it has" in reasons["cvr", None]
    assert reasons[None, "ndcg"].startswith("fused scores not compared with the champion: ")


def test_a_champion_that_predicts_nothing_of_the_same_is_a_warning(
    settings: dict[str, Any], champion: Path, log_file: Path, challenger: tuple[JudgedRows, Scores]
) -> None:
    content = deepcopy(settings)
    content["schema"] |= {"tasks": [{"name": "bought", "label": "buy"}], "outputs": {}}
    del content["fusion"]
    config = ExperimentConfig.model_validate(content | {"gate": GATE})
    rows, scores = challenger
    own = Scores({"bought": scores.outputs["ctcvr"]}, "tonight")
    decision = compare_with_champion(config, Impressions(log_file, config), rows, own, champion)
    assert decision.comparisons == ()
    assert "predicts nothing that means the same as 'bought'" in decision.warnings[0]


@pytest.mark.parametrize("change", ["absent", "text"])
def test_columns_that_today_does_not_have_or_that_the_champion_cannot_read(
    settings: dict[str, Any],
    champion: Path,
    log_table: pa.Table,
    challenger: tuple[JudgedRows, Scores],
    tmp_path: Path,
    change: str,
) -> None:
    settings["schema"]["features"] = [one for one in settings["schema"]["features"] if one["name"] != "price"]
    config = ExperimentConfig.model_validate(settings | {"gate": GATE})
    table = log_table.drop_columns(["price"])
    if change == "text":
        table = table.append_column("price", pa.array(["dear"] * len(table)))
    path = tmp_path / "today.parquet"
    pq.write_table(table, path)
    decision = compare_with_champion(config, Impressions(path, config), *challenger, champion)
    assert decision.comparisons == ()
    expected = "columns that these data do not have" if change == "absent" else "it cannot read these rows"
    assert expected in decision.warnings[0]
    assert "price" in decision.warnings[0]


def test_data_that_vanish_are_an_error_and_no_reason_to_skip_the_champion(
    lenient: ExperimentConfig,
    champion: Path,
    log_table: pa.Table,
    challenger: tuple[JudgedRows, Scores],
    tmp_path: Path,
) -> None:
    path = tmp_path / "log.parquet"
    pq.write_table(log_table, path)
    impressions = Impressions(path, lenient)
    path.unlink()
    with pytest.raises(DataError, match=r"log\.parquet"):
        compare_with_champion(lenient, impressions, *challenger, champion)


def test_rows_that_changed_meanwhile_are_an_error(
    lenient: ExperimentConfig, champion: Path, log_file: Path, challenger: tuple[JudgedRows, Scores]
) -> None:
    rows, scores = challenger
    fewer = replace(rows, labels={name: np.asarray(column)[:90] for name, column in rows.labels.items()})
    with pytest.raises(DataError, match="the champion was given 105 rows, the challenger 90; the data changed"):
        compare_with_champion(lenient, Impressions(log_file, lenient), fewer, scores, champion)
