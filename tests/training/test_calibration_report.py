"""The calibration report: what was bent is straight afterwards, thinning is undone, and all of it reads back."""

from __future__ import annotations

import json
from io import StringIO

import numpy as np
import pytest
from rich.console import Console
from scipy.special import expit

from ranker.calibration import Calibration, CalibrationConfig
from ranker.errors import SchemaError
from ranker.schema import Schema
from training.calibration_report import CalibrationReport, calibration_report
from training.predictions import Predictions

SCHEMA = Schema.model_validate(
    {
        "features": [{"name": "age", "side": "user", "kind": "numeric"}],
        "tasks": [
            {"name": "ctr", "label": "click"},
            {"name": "cvr", "label": "buy", "space": {"where": {"click": 1}}},
            {"name": "spend", "label": "spend", "kind": "regression"},
        ],
        "outputs": {"ctcvr": "ctr * cvr"},
    }
)


def predictions(num_rows: int, seed: int, kept: float = 1.0) -> Predictions:
    """A network that is right about cvr, and twice too sure and too high about ctr; negatives of ctr may be thinned."""
    random = np.random.default_rng(seed)
    z, w = random.normal(size=num_rows) - 1.5, random.normal(size=num_rows)
    click = random.random(num_rows) < expit(z)
    buy = click & (random.random(num_rows) < expit(w))
    rows = click | (random.random(num_rows) < kept)
    raw = {"ctr": 2 * z + 2 if kept == 1 else z - np.log(kept), "cvr": w, "spend": z}
    labels = {"click": click * 1.0, "buy": buy * 1.0, "spend": z}
    return Predictions(
        SCHEMA,
        {name: values[rows].astype(np.float32) for name, values in raw.items()},
        {name: values[rows] for name, values in labels.items()},
        None,
        None,
    )


def report_of(kept: float, method: CalibrationConfig) -> CalibrationReport:
    valid, test = predictions(30_011, 1, kept), predictions(40_013, 2, kept)
    calibration = Calibration.fit(SCHEMA, valid.raw, *valid.masks(), method)
    return calibration_report(SCHEMA, valid, test, calibration)


@pytest.fixture(scope="module")
def report() -> CalibrationReport:
    return report_of(1.0, CalibrationConfig(method="platt"))


def test_what_was_bent_is_straight_afterwards_on_rows_that_were_not_fitted(report: CalibrationReport) -> None:
    ctr, cvr, ctcvr = report.outputs  # no regression among them
    assert [one.output for one in report.outputs] == ["ctr", "cvr", "ctcvr"]
    assert [one.map for one in report.outputs] == ["platt", "platt", "product"]
    for bent in (ctr, ctcvr):
        for split in (bent.valid, bent.test):
            assert split.before.ece is not None
            assert split.after.ece is not None
            assert split.after.ece < 0.25 * split.before.ece
            assert split.after.predicted_over_observed == pytest.approx(1, abs=0.05)
            assert split.before.predicted_over_observed is not None
            assert split.before.predicted_over_observed > 1.5
            assert split.before.log_loss is not None
            assert split.after.log_loss is not None
            assert split.after.log_loss < split.before.log_loss
    assert cvr.test.before.predicted_over_observed == pytest.approx(1, abs=0.05)


def test_bins_account_for_the_rows_of_the_output(report: CalibrationReport) -> None:
    ctr, cvr, _ = report.outputs
    assert sum(one.rows for one in ctr.test.after.bins) == ctr.test.after.num_rows == 40_013
    assert cvr.test.after.num_rows == ctr.test.after.num_positives
    predicted = [one.predicted for one in ctr.test.after.bins]
    assert predicted == sorted(predicted)


def test_thinning_is_undone_and_both_sides_speak_of_the_full_log() -> None:
    config = CalibrationConfig(method="platt", negative_sampling_rate={"ctr": 0.2})
    ctr, _, ctcvr = report_of(0.2, config).outputs
    assert ctr.negative_sampling_rate == 0.2
    assert ctr.test.before.predicted_over_observed is not None
    assert ctr.test.before.predicted_over_observed > 2
    for one in (ctr, ctcvr):
        assert one.test.after.predicted_over_observed == pytest.approx(1, abs=0.05)
        assert one.test.after.ece is not None
        assert one.test.after.ece < 0.02


def test_a_report_is_plain_json_reads_back_and_shows_itself(report: CalibrationReport) -> None:
    text = json.dumps(report.to_dict(), allow_nan=False)
    assert CalibrationReport.from_dict(json.loads(text)) == report
    console = Console(record=True, width=150, file=StringIO())
    console.print(report.table())
    assert "product" in console.export_text()


def test_without_rows_figures_are_null_and_not_made_up() -> None:
    valid = predictions(2_003, 1)
    nobody = {**valid.labels, "click": np.zeros(len(valid.labels["click"]))}
    empty = Predictions(SCHEMA, valid.raw, nobody, None, None)
    found = calibration_report(SCHEMA, valid, empty, Calibration.identity(SCHEMA))
    ctr, cvr, _ = found.outputs
    assert ctr.test.after.predicted_over_observed is None
    assert (cvr.test.after.log_loss, cvr.test.after.ece, cvr.test.after.bins) == (None, None, ())
    console = Console(record=True, width=150, file=StringIO())
    console.print(found.table())
    assert "none" in console.export_text()


def test_a_calibration_of_another_schema_is_refused() -> None:
    other = Schema.model_validate({**SCHEMA.model_dump(mode="json"), "outputs": {}})
    valid = predictions(203, 1)
    with pytest.raises(SchemaError, match="fit it again"):
        calibration_report(SCHEMA, valid, valid, Calibration.identity(other))
