"""Calibration keeps the order of rows, mends what is off, says when it cannot, and survives JSON bit for bit."""

from __future__ import annotations

import subprocess
import sys
from typing import Any, Literal

import numpy as np
import pytest
from hypothesis import given, strategies as st
from hypothesis.extra import numpy as hnp
from numpy.typing import NDArray
from pydantic import ValidationError
from sklearn.linear_model import LogisticRegression

from ranker.calibration import (
    Calibration,
    CalibrationConfig,
    Isotonic,
    Platt,
    TaskCalibration,
    sigmoid,
    undo_negative_sampling,
)
from ranker.calibration_fit import fit_isotonic, fit_platt, log_loss
from ranker.errors import DataError, SchemaError
from ranker.schema import Schema

Floats = NDArray[np.float64]

SCHEMA = Schema.model_validate(
    {
        "features": [{"name": "price", "side": "item", "kind": "numeric"}],
        "tasks": [
            {"name": "ctr", "label": "click"},
            {"name": "cvr", "label": "buy", "space": {"where": {"click": 1}}},
            {"name": "dwell", "label": "seconds", "kind": "regression"},
        ],
        "outputs": {"ctcvr": "ctr * cvr"},
    }
)


def _rows(num: int, slope: float = 1.0, intercept: float = 0.0, seed: int = 5) -> tuple[Floats, Floats]:
    """Logits, and labels whose true probability is `sigmoid(slope * logit + intercept)`."""
    random = np.random.default_rng(seed)
    logit = random.normal(-1.0, 1.5, num)
    return logit, (random.random(num) < sigmoid(slope * logit + intercept)).astype(np.float64)


def _fit(method: str, logit: Floats, label: Floats, **config: Any) -> TaskCalibration:
    """The calibration of task `ctr`; the others get rows of their own."""
    other, other_label = _rows(31)
    raw = {"ctr": logit, "cvr": other, "dwell": np.zeros(3)}
    labels = {"ctr": label, "cvr": other_label, "dwell": np.zeros(3)}
    masks = {name: np.ones(len(values), np.bool_) for name, values in raw.items()}
    settings = CalibrationConfig.model_validate({"method": method, **config})
    return Calibration.fit(SCHEMA, raw, labels, masks, settings).tasks["ctr"]


# ---------------------------------------------------------------------------------------------------------- identity


@given(hnp.arrays(np.float64, 7, elements=st.floats(-700, 700)))
def test_identity_is_sigmoid_for_binary_and_as_is_for_regression(raw: Floats) -> None:
    outputs = Calibration.identity(SCHEMA).apply({"ctr": raw, "cvr": -raw, "dwell": raw})
    assert list(outputs) == list(SCHEMA.output_names)
    assert all(values.dtype == np.float64 for values in outputs.values())
    np.testing.assert_allclose(
        outputs["ctr"], 1 / (1 + np.exp(-raw.astype(np.longdouble))).astype(np.float64), rtol=1e-13
    )
    np.testing.assert_array_equal(outputs["dwell"], raw)


@given(hnp.arrays(np.float32, 5, elements=st.floats(-20, 20, width=32)))
def test_derived_outputs_are_products(raw: NDArray[np.float32]) -> None:
    outputs = Calibration.identity(SCHEMA).apply({"ctr": raw, "cvr": raw[::-1], "dwell": raw})
    np.testing.assert_array_equal(outputs["ctcvr"], outputs["ctr"] * outputs["cvr"])


def test_sigmoid_neither_overflows_nor_loses_small_probabilities() -> None:
    np.testing.assert_array_equal(sigmoid(np.array([-1e308, 1e308])), [0.0, 1.0])
    np.testing.assert_allclose(sigmoid(np.array([-600.0])), np.exp([-600.0]), rtol=1e-12)


def test_a_missing_task_is_named() -> None:
    with pytest.raises(DataError, match=r"\['cvr'\] absent"):
        Calibration.identity(SCHEMA).apply({"ctr": np.zeros(2), "dwell": np.zeros(2)})


# ------------------------------------------------------------------------------------------------------------- platt


@pytest.mark.parametrize(("slope", "intercept"), [(0.4, -2.0), (2.5, 1.0), (1.0, 0.0)])
def test_platt_recovers_a_known_line(slope: float, intercept: float) -> None:
    fitted = fit_platt(*_rows(60_000, slope, intercept))
    assert fitted.slope == pytest.approx(slope, rel=0.1)
    assert fitted.intercept == pytest.approx(intercept, abs=0.06)


def test_platt_is_the_unpenalised_maximum_likelihood() -> None:
    logit, label = _rows(20_011, 0.6, -1.0)
    fitted = fit_platt(logit, label)
    reference = LogisticRegression(C=np.inf, tol=1e-10).fit(logit[:, None], label)
    # Platt's targets differ from 0 and 1 by one part in the number of rows.
    assert fitted.slope == pytest.approx(reference.coef_[0, 0], rel=2e-3)
    assert fitted.intercept == pytest.approx(reference.intercept_[0], abs=2e-3)
    assert sigmoid(fitted.slope * logit + fitted.intercept).mean() == pytest.approx(label.mean(), rel=1e-3)


@pytest.mark.parametrize(("shift", "scale"), [(0.0, 1e-6), (0.0, 1e6), (1e5, 1.0), (-300.0, 40.0)])
def test_platt_does_not_care_for_the_scale_of_the_logits(shift: float, scale: float) -> None:
    logit, label = _rows(997, 0.7, 0.3)
    plain, moved = fit_platt(logit, label), fit_platt(shift + scale * logit, label)
    expected = plain.probability(logit)
    np.testing.assert_allclose(moved.probability(shift + scale * logit), expected, rtol=1e-5)


def test_platt_stays_finite_on_separable_rows() -> None:
    logit = np.array([-2.0, -1.0, 1.0, 2.0, 3.0])
    fitted = fit_platt(logit, (logit > 0).astype(np.float64))
    assert 0 < fitted.slope < 1e3
    assert abs(fitted.intercept) < 1e3


def test_platt_slope_must_be_positive() -> None:
    with pytest.raises(ValidationError, match="greater than 0"):
        Platt(slope=0.0, intercept=1.0)


# ---------------------------------------------------------------------------------------------------------- isotonic


def test_isotonic_mends_a_bent_probability() -> None:
    random = np.random.default_rng(11)
    logit = random.normal(0.0, 2.0, 40_000)
    truth = 0.1 + 0.5 * sigmoid(3 * logit) ** 2
    fitted = fit_isotonic(logit, (random.random(len(logit)) < truth).astype(np.float64))
    assert np.abs(fitted.probability(logit) - truth).mean() < 0.02
    assert np.abs(sigmoid(logit) - truth).mean() > 0.1


def test_isotonic_is_never_certain() -> None:
    logit, label = _rows(203, 9.0)
    probability = fit_isotonic(logit, label).probability(np.array([-1e9, 1e9]))
    np.testing.assert_allclose(probability, [1 / 205, 204 / 205])
    assert log_loss(fit_isotonic(logit, label).probability(logit), label) < np.log(2)


@pytest.mark.parametrize(
    ("knots", "message"),
    [
        ({"x": [0.0, 0.0], "y": [0.1, 0.2]}, "ascend strictly"),
        ({"x": [0.0, 1.0], "y": [0.3, 0.2]}, "must not descend"),
        ({"x": [0.0], "y": [0.1, 0.2]}, "equally long, got 1 and 2"),
        ({"x": [0.0], "y": [1.1]}, "less than or equal to 1"),
        ({"x": [float("nan")], "y": [0.1]}, "finite"),
        ({"x": [], "y": []}, "at least 1 item"),
    ],
)
def test_isotonic_refuses_senseless_knots(knots: dict[str, list[float]], message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        Isotonic.model_validate(knots)


# --------------------------------------------------------------------------------------------------------- all methods


@given(
    st.sampled_from(["platt", "isotonic", "auto"]),
    hnp.arrays(np.float64, 40, elements=st.floats(-50, 50)),
    hnp.arrays(np.float64, 40, elements=st.sampled_from([0.0, 1.0])),
    st.floats(0.01, 1.0),
)
def test_every_fitted_map_keeps_the_order_and_gives_probabilities(
    method: str, logit: Floats, label: Floats, rate: float
) -> None:
    fitted = _fit(method, logit, label, negative_sampling_rate={"ctr": rate})
    grid = fitted.apply(np.concatenate([np.linspace(-60, 60, 301), [1e300]]))
    assert np.all(np.diff(grid) >= -1e-15)
    assert np.all((grid >= 0) & (grid <= 1))


@given(st.sampled_from(["none", "platt", "isotonic", "auto"]), st.integers(2, 50))
def test_json_round_trips_bit_for_bit(method: str, num_rows: int) -> None:
    logit, label = _rows(num_rows)
    rows = dict.fromkeys(SCHEMA.task_names, logit)
    labels = dict.fromkeys(SCHEMA.task_names, label)
    masks = dict.fromkeys(SCHEMA.task_names, np.ones(num_rows, np.bool_))
    config = CalibrationConfig.model_validate({"method": method, "negative_sampling_rate": {"cvr": 0.3}})
    calibration = Calibration.fit(SCHEMA, rows, labels, masks, config)
    again = Calibration.model_validate_json(calibration.model_dump_json(), strict=True)
    assert again == calibration
    for name, values in calibration.apply(rows).items():
        np.testing.assert_array_equal(again.apply(rows)[name], values)


@pytest.mark.parametrize(
    ("bend", "expected"),
    [(lambda z: z, "identity"), (lambda z: 0.3 * z - 2, "platt"), (lambda z: 4 * np.sign(z) - 1, "isotonic")],
    ids=["calibrated", "a line off", "bent"],
)
def test_auto_finds_the_right_method(bend: Any, expected: str) -> None:
    random = np.random.default_rng(2)
    logit = random.normal(0, 1.5, 30_000)
    label = (random.random(len(logit)) < sigmoid(bend(logit))).astype(np.float64)
    fitted = _fit("auto", logit, label)
    losses = fitted.held_out_log_loss
    assert fitted.map.kind == expected
    assert set(losses) == {"identity", "platt", "isotonic"}
    assert losses[fitted.map.kind] == min(losses.values())
    assert fitted.num_rows == 30_000


def test_auto_gives_the_same_answer_each_time() -> None:
    logit, label = _rows(401, 0.9, 0.1)
    assert _fit("auto", logit, label) == _fit("auto", logit, label)


def test_auto_improves_what_is_off() -> None:
    logit, label = _rows(9_000, 0.5, -1.5)
    fresh, fresh_label = _rows(9_000, 0.5, -1.5, seed=6)
    assert log_loss(_fit("auto", logit, label).apply(fresh), fresh_label) < log_loss(sigmoid(fresh), fresh_label) - 0.05


@pytest.mark.parametrize("method", ["platt", "isotonic", "auto"])
@pytest.mark.parametrize(
    ("logit", "label", "note"),
    [
        ([0.5, 1.0, 2.0], [0, 0, 0], "all 3 labels are 0"),
        ([0.5, 1.0], [1, 1], "all 2 labels are 1"),
        ([], [], "no row"),
    ],
)
def test_rows_of_one_class_leave_identity_and_a_note(
    method: str, logit: list[float], label: list[float], note: str
) -> None:
    fitted = _fit(method, np.array(logit), np.array(label, np.float64))
    assert fitted.map.kind == "identity"
    assert note in str(fitted.note)


@pytest.mark.parametrize(("method", "note"), [("platt", "slope must be positive"), ("isotonic", "constant at")])
def test_logits_against_the_labels_leave_identity_and_a_note(method: str, note: str) -> None:
    logit = np.arange(10.0)
    fitted = _fit(method, logit, (logit < 5).astype(np.float64))
    assert fitted.map.kind == "identity"
    assert note in str(fitted.note)


def test_logits_that_do_not_vary_leave_identity_and_a_note() -> None:
    fitted = _fit("platt", np.full(4, 0.25), np.array([0.0, 1.0, 0.0, 1.0]))
    assert fitted.map.kind == "identity"
    assert "do not vary" in str(fitted.note)


def test_auto_takes_identity_where_nothing_else_can_be_fitted() -> None:
    fitted = _fit("auto", -np.arange(40.0), (np.arange(40) >= 20).astype(np.float64))
    assert fitted.map.kind == "identity"


def test_masked_rows_do_not_count() -> None:
    logit, label = _rows(300, 0.5, 1.0)
    spoiled = np.concatenate([logit, [np.nan, 1e6]])
    spoiled_label = np.concatenate([label, [np.nan, 7.0]])
    mask = np.arange(302) < 300
    raw = {"ctr": spoiled, "cvr": logit, "dwell": logit}
    labels = {"ctr": spoiled_label, "cvr": label, "dwell": label}
    masks = {"ctr": mask, "cvr": mask[:300], "dwell": mask[:300]}
    config = CalibrationConfig(method="platt")
    tasks = Calibration.fit(SCHEMA, raw, labels, masks, config).tasks
    assert tasks["ctr"].map == tasks["cvr"].map
    assert tasks["ctr"].num_rows == 300


def test_regression_is_never_touched() -> None:
    logit, label = _rows(50)
    everything = dict.fromkeys(SCHEMA.task_names, logit)
    masks = dict.fromkeys(SCHEMA.task_names, np.ones(50, np.bool_))
    labels = dict.fromkeys(SCHEMA.task_names, label)
    calibration = Calibration.fit(SCHEMA, everything, labels, masks, CalibrationConfig(method="isotonic"))
    np.testing.assert_array_equal(calibration.apply(everything)["dwell"], logit)


@pytest.mark.parametrize(
    ("logit", "label", "message"),
    [
        ([0.0, float("nan"), 1.0], [0, 1, 1], "raw output of task 'ctr' must be finite.*nan in row 1"),
        ([0.0, 1.0, float("inf")], [0, 1, 1], "raw output of task 'ctr'.*inf in row 2"),
        ([0.0, 1.0, 2.0], [0, 1, 2], "label of task 'ctr' must be 0 or 1.*got 2.0 in row 2"),
        ([0.0, 1.0, 2.0], [0, 1, float("nan")], "label of task 'ctr'.*nan in row 2"),
        ([0.0, 1.0], [0, 1, 1], "equally many values"),
    ],
)
def test_bad_rows_are_named(logit: list[float], label: list[float], message: str) -> None:
    with pytest.raises(DataError, match=message):
        _fit("auto", np.array(logit), np.array(label, np.float64))


def test_absent_rows_are_named() -> None:
    with pytest.raises(DataError, match=r"task 'ctr' needs its \['raw', 'labels', 'masks'\]"):
        Calibration.fit(SCHEMA, {}, {}, {}, CalibrationConfig(method="platt"))


def test_method_none_needs_no_rows() -> None:
    assert Calibration.fit(SCHEMA, {}, {}, {}, CalibrationConfig(method="none")) == Calibration.identity(SCHEMA)


# -------------------------------------------------------------------------------------------------- negative sampling


@given(hnp.arrays(np.float64, 9, elements=st.floats(0, 1)), st.floats(0.001, 1.0))
def test_undoing_negative_sampling_inverts_it(truth: Floats, rate: float) -> None:
    thinned = truth / (truth + rate * (1 - truth))
    np.testing.assert_allclose(undo_negative_sampling(thinned, rate), truth, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("method", ["none", "platt", "isotonic", "auto"])
def test_sampled_logs_give_probabilities_of_the_full_log(method: str) -> None:
    logit, label = _rows(60_000, 1.0, -2.0)
    kept = (label == 1) | (np.random.default_rng(4).random(len(label)) < 0.2)
    # The model was trained on the thinned log, so its logits are too high by -log(rate).
    biased = logit - 2.0 - np.log(0.2)
    fitted = _fit(method, biased[kept], label[kept], negative_sampling_rate={"ctr": 0.2})
    assert fitted.apply(biased).mean() == pytest.approx(label.mean(), rel=0.05)
    plain = _fit(method, biased[kept], label[kept])
    assert plain.apply(biased).mean() > 2 * label.mean()


@pytest.mark.parametrize("task", ["dwell", "watch", "ctcvr"])
def test_sampling_rates_of_anything_but_binary_tasks_are_refused(task: str) -> None:
    config = CalibrationConfig(negative_sampling_rate={task: 0.5})
    with pytest.raises(SchemaError, match=rf"\['{task}'\].*binary: \['ctr', 'cvr'\]"):
        config.validate_tasks(SCHEMA)


@pytest.mark.parametrize("rate", [0.0, -0.1, 1.01, float("nan"), float("inf")])
def test_sampling_rates_outside_their_range_are_refused(rate: float) -> None:
    with pytest.raises(ValidationError, match=r"negative_sampling_rate\.ctr"):
        CalibrationConfig(negative_sampling_rate={"ctr": rate})


# -------------------------------------------------------------------------------------------------------------- schema

Change = Literal["task", "kind", "order", "output", "factors"]


@pytest.mark.parametrize("change", ["task", "kind", "order", "output", "factors"])
def test_a_calibration_of_another_schema_is_refused(change: Change) -> None:
    other = SCHEMA.model_dump(mode="json")
    match change:
        case "task":
            other["tasks"].append({"name": "share", "label": "share"})
        case "kind":
            other["tasks"][2]["kind"] = "binary"
        case "order":
            other["tasks"].reverse()
        case "output":
            del other["outputs"]["ctcvr"]
        case "factors":
            other["outputs"]["ctcvr"] = "cvr * ctr"
    with pytest.raises(SchemaError, match="fit it again"):
        Calibration.identity(SCHEMA).validate_schema(Schema.model_validate(other))
    Calibration.identity(SCHEMA).validate_schema(SCHEMA)


def test_applying_needs_neither_scipy_nor_scikit_learn() -> None:
    code = (
        "import sys; from ranker.calibration import Isotonic; import numpy as np;"
        "Isotonic(x=(0.0, 1.0), y=(0.0, 1.0)).probability(np.zeros(2));"
        "sys.exit(any(name in sys.modules for name in ('scipy', 'sklearn', 'torch')))"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
