"""One pass gives what the whole table says, in memory that does not grow with it."""

from __future__ import annotations

import datetime as dt
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest

from ranker.errors import DataError
from ranker.schema import Ids
from tests.training.data_check.conftest import SECOND, Profiled
from training.config import ExperimentConfig
from training.data import Impressions
from training.data_check import DataCheckConfig, DataProfile, profile
from training.data_check.profiler import impression_keys
from training.errors import ConfigError


def test_counts_are_those_of_the_table(days: tuple[pa.Table, pa.Table], second: DataProfile) -> None:
    table = days[1]
    assert second.num_rows == len(table)
    price, city, interests = (second.features[name] for name in ("price", "city", "interests"))
    assert price.null_rate.value == table["price"].null_count / len(table)
    assert city.seen is not None
    assert city.seen.counts == {
        item["values"]: item["counts"] for item in table["city"].drop_null().combine_chunks().value_counts().to_pylist()
    }
    lists = table["interests"].to_pylist()
    assert interests.null_rate.value == sum(not one for one in lists) / len(lists)
    assert interests.seen is not None
    assert sum(interests.seen.counts.values()) == sum(len(one) for one in lists if one)
    clicked = table.filter(pc.equal(table["click"], 1))
    cvr = second.tasks["cvr"]
    assert cvr.num_rows == len(clicked)
    assert cvr.mean is not None
    assert cvr.mean.value == pytest.approx(pc.mean(clicked["conversion"]).as_py())
    assert cvr.std == pytest.approx(np.std(clicked["conversion"].to_numpy()))


def test_what_a_feature_is(second: DataProfile) -> None:
    assert {name for name, feature in second.features.items() if feature.is_id} == {"item"}
    assert second.features["interests"].table == "category"
    assert second.features["age"].table is None
    assert "age_band" not in second.features  # reads the same numbers as age
    assert second.columns["price"].family == "number"


def test_row_groups_make_no_difference(
    days: tuple[pa.Table, pa.Table], profiled: Profiled, second: DataProfile
) -> None:
    other = profiled(days[1], row_group=391)
    assert other.duplicates == second.duplicates
    assert other.times == second.times
    assert other.leakage == second.leakage
    assert other.features == second.features
    for name, task in second.tasks.items():
        assert task.mean is not None
        mean = other.tasks[name].mean
        assert mean is not None
        assert mean.value == pytest.approx(task.mean.value, rel=1e-12)


def test_codes_give_what_text_gives(days: tuple[pa.Table, pa.Table], profiled: Profiled, second: DataProfile) -> None:
    table = days[1]
    for name in ("city", "brand", "user_id"):
        table = table.set_column(table.column_names.index(name), name, table[name].dictionary_encode())
    assert profiled(table).features == second.features


def test_what_is_kept_does_not_grow(days: tuple[pa.Table, pa.Table], profiled: Profiled) -> None:
    settings = {"sample_rows": 601, "max_values": 11, "duplicate_keys": 997}
    small, large = (profiled(pa.concat_tables([days[1]] * times), **settings) for times in (1, 3))
    for found in (small, large):
        for feature in found.features.values():
            assert feature.histogram.total >= 500
            assert feature.seen is None or len(feature.seen.counts) <= 11
        assert found.features["age"].histogram.total == 601
        assert found.duplicates is not None
        assert found.duplicates.num_rows <= 997
    assert large.duplicates is not None
    assert large.duplicates.share == pytest.approx(2 / 3, abs=0.05)


def test_only_the_days_asked_for_are_profiled(
    days: tuple[pa.Table, pa.Table], profiled: Profiled, second: DataProfile
) -> None:
    both = profiled(pa.concat_tables(days), window_days=1)
    assert both.num_rows == second.num_rows
    assert both.features == second.features
    assert both.times is not None
    assert both.times.num_rows == len(days[0]) + len(days[1])
    assert both.times.num_of_day == len(days[1])


def test_a_window_needs_times(
    days: tuple[pa.Table, pa.Table], profiled: Profiled, experiment: ExperimentConfig
) -> None:
    numbers = days[1].set_column(
        days[1].column_names.index("timestamp"), "timestamp", pa.array(np.arange(len(days[1])))
    )
    with pytest.raises(ConfigError, match=r"window_days.*unit of 'timestamp' in data_check\.timestamp_unit"):
        profiled(numbers, window_days=2)
    schema = experiment.data_schema.model_copy(update={"ids": Ids(user="user_id")})
    with pytest.raises(ConfigError, match=r"window_days.*set schema\.ids\.timestamp"):
        profiled(days[1], other=experiment.model_copy(update={"data_schema": schema}), window_days=2)


def test_without_ids_there_is_less_to_say(
    days: tuple[pa.Table, pa.Table], profiled: Profiled, experiment: ExperimentConfig
) -> None:
    schema = experiment.data_schema.model_copy(update={"ids": Ids(user="user_id")})
    found = profiled(days[1], other=experiment.model_copy(update={"data_schema": schema}))
    assert found.times is None
    assert found.timestamp_column is None
    assert found.duplicates is None


@pytest.mark.parametrize(
    ("ids", "keys"),
    [
        (Ids(), ()),
        (Ids(user="u", item="i"), ()),  # the same item may be shown to a user again
        (Ids(user="u", request="r", timestamp="t"), ()),
        (Ids(item="i", request="r"), ("r", "i")),
        (Ids(user="u", item="i", timestamp="t"), ("u", "i", "t")),
    ],
)
def test_what_tells_impressions_apart(ids: Ids, keys: tuple[str, ...]) -> None:
    assert impression_keys(ids) == keys


def test_a_wrong_label_names_the_data(
    days: tuple[pa.Table, pa.Table], experiment: ExperimentConfig, tmp_path: Path
) -> None:
    wrong = days[1].set_column(days[1].column_names.index("click"), "click", pa.array([2] * len(days[1])))
    path = tmp_path / "log.parquet"
    pq.write_table(wrong, path)
    with pytest.raises(DataError, match=r"log\.parquet.*'click' must be 0, 1 or null"):
        profile(Impressions(path, experiment), DataCheckConfig(), SECOND)


def test_regressions_and_shared_columns(log_file: Path, config: ExperimentConfig) -> None:
    found = profile(Impressions(log_file, config), DataCheckConfig(timestamp_unit="s"), dt.date(1970, 1, 1))
    assert found.tasks["spend"].kind == "regression"
    assert found.tasks["spend"].std > 0
    assert {"history", "last_three"} <= found.features.keys()  # two lengths of one list
    assert found.features["history"].is_id
    assert found.times is not None
    assert found.times.num_of_day == 700
