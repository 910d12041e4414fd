"""Every check fires for the defect that it is there for, and none without a defect."""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pytest

from ranker.encoding import Encoder
from tests.training.data_check.conftest import FIRST, SECOND, Profiled
from training.config import ExperimentConfig
from training.data_check import DataCheckConfig, DataCheckReport, DataProfile, Finding, check
from training.data_check.config import CheckName

Change = Callable[[pa.Table], pa.Table]


def put(table: pa.Table, name: str, values: Any) -> pa.Table:
    """The table with another column in the place of one."""
    return table.set_column(table.column_names.index(name), name, values)


def nulls(table: pa.Table, name: str, share: float) -> pa.Table:
    """Some values, chosen at random, replaced by null."""
    kept = np.random.default_rng(1).random(len(table)) >= share
    return put(table, name, pc.if_else(pa.array(kept), table[name].combine_chunks(), None))


def later(table: pa.Table, rows: slice, **delta: float) -> pa.Table:
    """Some rows' times moved."""
    times = table["timestamp"].to_numpy().copy()
    times[rows] += np.timedelta64(dt.timedelta(**delta))
    return put(table, "timestamp", pa.array(times, pa.timestamp("ms", "UTC")))


def leak(table: pa.Table, name: str) -> pa.Table:
    """A number that was written down after the click."""
    noise = np.random.default_rng(2).random(len(table))
    return put(table, name, pa.array(np.where(table["click"].to_numpy() == 1, noise + 1, noise)))


# name: (change, check, subject, severity, words of the message)
DEFECTS: dict[str, tuple[Change, CheckName, str, str, list[str]]] = {
    "few rows": (lambda t: t.slice(0, 4_000), "rows_fewer", "rows", "error", ["4,000", "14,000", "files"]),
    "fewer rows": (lambda t: t.slice(0, 8_000), "rows_fewer", "rows", "warning", ["8,000", "14,000"]),
    "many rows": (lambda t: pa.concat_tables([t] * 6), "rows_more", "rows", "error", ["84,000", "14,000"]),
    "every row twice": (
        lambda t: pa.concat_tables([t, t]),
        "duplicates",
        "rows",
        "error",
        ["50.000%", "request_id, user_id, item_id, timestamp", "once"],
    ),
    "some rows twice": (lambda t: pa.concat_tables([t, t.slice(0, 99)]), "duplicates", "rows", "warning", ["0.702%"]),
    "text became numbers": (
        lambda t: put(t, "device", pa.array(np.arange(len(t)) % 5)),
        "column_types",
        "device",
        "error",
        ["int64", "string", "2026-01-01"],
    ),
    "no values": (lambda t: nulls(t, "rating", 1.1), "null_rate", "rating", "error", ["100.0%", "'rating'", "fill"]),
    "hardly a value": (lambda t: nulls(t, "city", 0.95), "null_rate", "city", "warning", ["95"]),
    "more nulls": (lambda t: nulls(t, "price", 0.2), "null_rate_jump", "price", "warning", ["usual"]),
    "many nulls": (lambda t: nulls(t, "brand", 0.5), "null_rate_jump", "brand", "error", ["usual"]),
    "labels lost": (lambda t: nulls(t, "click", 0.4), "null_rate_jump", "click", "error", ["39.9%", "0.0%"]),
    "no clicks": (
        lambda t: put(put(t, "click", pa.array(np.zeros(len(t), np.int64))), "conversion", pa.array([0] * len(t))),
        "constant_label",
        "ctr",
        "error",
        ["all 14,000 labels are 0", "'click'"],
    ),
    "nobody bought": (
        lambda t: put(t, "conversion", pa.array([0] * len(t))),
        "constant_label",
        "cvr",
        "error",
        ["are 0", "'conversion'"],
    ),
    "clicks counted late": (
        lambda t: put(t, "click", pc.if_else(pa.array(np.arange(len(t)) % 2 == 0), t["click"], 0)),
        "label_rate",
        "ctr",
        "warning",
        ["rate", "usual", "1.3"],
    ),
    "another unit": (
        lambda t: put(t, "price", pc.multiply(t["price"], 100.0)),
        "drift",
        "price",
        "error",
        ["PSI", "median went from", "2026-01-01"],
    ),
    "one value takes over": (
        lambda t: put(t, "category", pc.if_else(pa.array(np.arange(len(t)) % 3 == 0), "sports", t["category"])),
        "drift",
        "category",
        "warning",
        ["'sports' went from"],
    ),
    "lists are empty": (
        lambda t: put(t, "interests", pa.array([[]] * len(t), pa.list_(pa.string()))),
        "null_rate",
        "interests",
        "error",
        ["100.0%"],
    ),
    "other ids": (
        lambda t: put(t, "item_id", pc.binary_join_element_wise("new", t["item_id"], "-")),
        "drift_ids",
        "item",
        "warning",
        ["PSI"],
    ),
    "another spelling": (
        lambda t: put(t, "city", pc.utf8_upper(t["city"])),
        "new_values",
        "city",
        "warning",
        ["100.0%", "2026-01-01", "spelling"],
    ),
    "times lost": (lambda t: nulls(t, "timestamp", 0.3), "null_timestamps", "time", "error", ["'timestamp'"]),
    "a clock at zero": (
        lambda t: later(t, slice(0, 5), days=-20_000),
        "old_rows",
        "time",
        "warning",
        ["5 of 14,000", "400 days", "1971"],
    ),
    "tomorrow's rows": (
        lambda t: later(t, slice(0, 2_000), days=1),
        "future_rows",
        "time",
        "error",
        ["of 14,000", "after 2026-01-02", "2026-01-03T"],
    ),
    "yesterday's rows": (
        lambda t: later(t, slice(None), days=-1),
        "missing_day",
        "time",
        "error",
        ["no row is of 2026-01-02", "2026-01-01"],
    ),
    "a leak": (lambda t: leak(t, "rating"), "leakage", "rating", "error", ["ctr", "alone", "AUC of 1.0000"]),
    "a leak by nulls": (
        lambda t: put(t, "brand", pc.if_else(pc.equal(t["click"], 1), "b1", None)),
        "leakage",
        "brand",
        "error",
        ["ctr"],
    ),
    "a leak by a category": (
        lambda t: put(t, "device", pc.if_else(pc.equal(t["conversion"], 1), "app", t["device"])),
        "leakage",
        "device",
        "error",
        ["cvr"],
    ),
}


def judged(profile: DataProfile, *references: DataProfile, **settings: Any) -> DataCheckReport:
    return check(profile, references, DataCheckConfig.model_validate(settings), SECOND)


def found(report: DataCheckReport, name: str, subject: str) -> Finding:
    for finding in report.findings:
        if (finding.check, finding.subject) == (name, subject):
            return finding
    raise AssertionError(f"no {name} of {subject} among {report.findings}")


def test_clean_days_have_no_finding(first: DataProfile, second: DataProfile) -> None:
    report = judged(second, first)
    assert report.findings == ()
    assert report.ok
    assert report.compared_with == (FIRST,)
    assert judged(second).findings == ()


@pytest.mark.parametrize("name", DEFECTS)
def test_a_defect_is_found(name: str, days: tuple[pa.Table, pa.Table], profiled: Profiled, first: DataProfile) -> None:
    change, rule, subject, severity, words = DEFECTS[name]
    finding = found(judged(profiled(change(days[1])), first), rule, subject)
    assert finding.severity == severity
    assert finding.value > finding.limit or rule in ("constant_label", "missing_day")
    for word in words:
        assert word in finding.message
    assert "{" not in finding.message


def test_errors_come_first_and_each_check_can_be_switched(
    days: tuple[pa.Table, pa.Table], profiled: Profiled, first: DataProfile
) -> None:
    broken = profiled(later(nulls(days[1], "rating", 1.1), slice(0, 3), days=-20_000))
    report = judged(broken, first)
    assert [finding.severity for finding in report.findings] == ["error"] * len(report.errors) + ["warning"] * len(
        report.warnings
    )
    assert {finding.check for finding in report.errors} == {"null_rate", "null_rate_jump", "drift"}
    off: dict[str, Any] = {"warning": None, "error": None}
    softer = judged(broken, first, null_rate=off, null_rate_jump={"warning": 0.1, "error": None}, drift=off)
    assert {(finding.check, finding.severity) for finding in softer.findings} == {
        ("null_rate_jump", "warning"),
        ("old_rows", "warning"),
    }
    checks = {finding.check: [finding.subject] for finding in report.findings}
    assert judged(broken, first, exempt=checks).findings == ()


@pytest.mark.parametrize(("switch", "severity"), [("error", ["error"]), ("warning", ["warning"]), ("off", [])])
def test_a_switch(
    switch: str, severity: list[str], days: tuple[pa.Table, pa.Table], profiled: Profiled, first: DataProfile
) -> None:
    report = judged(profiled(later(days[1], slice(None), days=-1)), first, missing_day=switch)
    assert [finding.severity for finding in report.findings] == severity


def test_no_row_at_all(days: tuple[pa.Table, pa.Table], profiled: Profiled, first: DataProfile) -> None:
    empty = profiled(later(days[1], slice(None), days=-9), window_days=1)
    report = judged(empty, first)
    assert empty.num_rows == 0
    assert [finding.check for finding in report.errors] == ["rows_fewer", "missing_day"]
    assert "no row was found" in report.errors[0].message


def test_rows_of_the_day_are_judged_beside_all(
    days: tuple[pa.Table, pa.Table], profiled: Profiled, first: DataProfile
) -> None:
    both = [pa.concat_tables([days[0], days[1].slice(0, size)]) for size in (14_000, 3_500)]
    usual, short = (profiled(rows) for rows in both)
    finding = found(judged(short, usual.model_copy(update={"date": FIRST})), "rows_fewer", "rows of the day")
    assert finding.severity == "error"
    assert finding.value == 4


def test_the_median_of_the_last_nights_counts(first: DataProfile, second: DataProfile) -> None:
    nights = [
        first.model_copy(update={"date": SECOND - dt.timedelta(days=back), "num_rows": rows})
        for back, rows in [(1, 14_000), (2, 90), (3, 14_200), (4, 1_000_000), (5, 13_000)]
    ]
    assert judged(second, *nights).findings == ()
    report = judged(second, *nights, history=2)
    assert report.compared_with == (SECOND - dt.timedelta(days=2), FIRST)
    assert found(report, "rows_more", "rows").value == pytest.approx(14_000 / 7_045)
    assert judged(second, first.model_copy(update={"date": SECOND})).compared_with == ()  # no night before this one


def test_columns_that_come_and_go(
    days: tuple[pa.Table, pa.Table], profiled: Profiled, experiment: ExperimentConfig, first: DataProfile
) -> None:
    schema = experiment.data_schema
    fewer = schema.model_copy(update={"features": tuple(f for f in schema.features if f.name != "rating")})
    smaller = profiled(days[1], other=experiment.model_copy(update={"data_schema": fewer}))
    gone = found(judged(smaller, first), "columns", "rating")
    assert "not any more" in gone.message
    back = check(first, [smaller.model_copy(update={"date": dt.date(2025, 12, 31)})], DataCheckConfig(), FIRST)
    assert "is new since 2025-12-31" in found(back, "columns", "rating").message


def test_a_column_of_nulls_has_not_changed_its_type(
    days: tuple[pa.Table, pa.Table], profiled: Profiled, first: DataProfile
) -> None:
    empty = profiled(put(days[1], "device", pa.nulls(len(days[1]))))
    assert "column_types" not in {finding.check for finding in judged(empty, first).findings}


def test_new_values_are_those_that_the_live_model_does_not_know(
    days: tuple[pa.Table, pa.Table], experiment: ExperimentConfig, first: DataProfile, second: DataProfile
) -> None:
    known = days[0].filter(pc.not_equal(days[0]["category"], "sports"))
    encoder = Encoder.fit(experiment.data_schema, [put(known, "interests", pa.array([["garden"]] * len(known)))])
    vocabulary = set(encoder.vocabularies["category"].values.to_pylist())
    words = [word for row in days[1]["interests"].to_pylist() if row for word in row]
    config = DataCheckConfig.model_validate({"new_values": {"warning": 0.0, "error": None}})
    report = check(second, [first], config, SECOND, encoder=encoder)
    finding = found(report, "new_values", "interests")
    assert finding.value == pytest.approx(np.mean([word not in vocabulary for word in words]))
    assert "the live model" in finding.message


def test_new_values_of_large_vocabularies_are_estimated(days: tuple[pa.Table, pa.Table], profiled: Profiled) -> None:
    random = np.random.default_rng(5)
    before, now = (
        profiled(put(days[1], "city", pa.array([f"c{n}" for n in random.integers(*span, 14_000)])), day, max_values=700)
        for span, day in [((0, 9_000), FIRST), ((3_000, 12_000), SECOND)]
    )
    seen = [profile.features["city"].seen for profile in (before, now)]
    assert all(values is not None and not values.complete for values in seen)
    finding = found(judged(now, before), "new_values", "city")
    # 9,000 values of which a row of the reference drew all but exp(-14/9), or a third that cannot have been drawn
    expected = 1 / 3 + 2 / 3 * np.exp(-14 / 9)
    assert finding.value == pytest.approx(expected, abs=0.1)


def test_one_feature_should_not_rank_as_well_as_the_live_model(second: DataProfile) -> None:
    best = max((one for one in second.leakage if one.task == "ctr"), key=lambda one: one.auc)
    strong = check(second, [], DataCheckConfig(), SECOND, champion_auc={"ctr": 0.75})
    assert strong.findings == ()
    weak = check(second, [], DataCheckConfig(), SECOND, champion_auc={"ctr": best.auc - 5 * best.standard_error})
    assert found(weak, "leakage_champion", best.feature).severity == "warning"
    config = DataCheckConfig(leakage_champion="off")
    assert check(second, [], config, SECOND, champion_auc={"ctr": 0.5}).findings == ()


def test_times_of_an_unknown_unit(days: tuple[pa.Table, pa.Table], profiled: Profiled) -> None:
    seconds = put(days[1], "timestamp", days[1]["timestamp"].cast(pa.timestamp("s", "UTC")).cast(pa.int64()))
    profile = profiled(seconds)
    assert profile.times is None
    assert "data_check.timestamp_unit" in found(judged(profile), "timestamps", "timestamp").message
    named = profiled(seconds, timestamp_unit="s")
    assert named.times is not None
    assert named.times.num_of_day == 14_000
    assert judged(named).findings == ()


def test_the_mean_of_a_regression_label(first: DataProfile, second: DataProfile) -> None:
    def spending(profile: DataProfile, mean: float, std: float = 5.0) -> DataProfile:
        task = profile.tasks["ctr"]
        rate = {"value": mean, "standard_error": 0.1}
        spend = type(task).model_validate(task.model_dump() | {"kind": "regression", "mean": rate, "std": std})
        return profile.model_copy(update={"tasks": {"spend": spend}})

    assert judged(spending(second, 20.4), spending(first, 20.0)).findings == ()
    report = judged(spending(second, 22.0), spending(first, 20.0))
    assert found(report, "label_mean", "spend").value == pytest.approx(0.4)
    assert found(judged(spending(second, -80.0), spending(first, 20.0)), "label_mean", "spend").severity == "error"
    constant = spending(first, 20.0, std=0.0)  # gives no unit to measure in
    assert judged(spending(second, 22.0), constant).findings == ()


def test_a_first_positive_is_no_jump(first: DataProfile, second: DataProfile) -> None:
    task = first.tasks["cvr"]
    never = task.model_copy(update={"mean": type(first.features["age"].null_rate)(value=0.0, standard_error=0.0)})
    before = first.model_copy(update={"tasks": first.tasks | {"cvr": never}})
    assert judged(second, before).findings == ()


def test_the_same_arguments_give_the_same_report(first: DataProfile, second: DataProfile) -> None:
    assert judged(second, first) == judged(second, first)
