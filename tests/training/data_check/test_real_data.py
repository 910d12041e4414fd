"""Two public logs: nothing in them stops a night, and what is remarkable about them is remarked."""

from __future__ import annotations

import datetime as dt
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest

from benchmarks import ebnerd
from training.config import load_config
from training.data import Impressions
from training.data_check import DataCheckReport, check, profile

pytestmark = pytest.mark.data


def judged(config: Path, nights: list[pa.Table], days: list[dt.date], folder: Path) -> DataCheckReport:
    """The last night against the one before."""
    experiment = load_config(config)
    profiles = []
    for number, (night, day) in enumerate(zip(nights, days, strict=True)):
        pq.write_table(night, folder / f"night{number}.parquet")
        impressions = Impressions(folder / f"night{number}.parquet", experiment)
        profiles.append(profile(impressions, experiment.data_check, day))
    return check(profiles[-1], profiles[:-1], experiment.data_check, days[-1])


def test_hillstrom_in_two_nights(repository: Path, data_folder: Path, tmp_path: Path) -> None:
    table = pq.read_table(data_folder / "hillstrom" / "hillstrom.parquet")
    even = pc.equal(pc.bit_wise_and(table["user_id"], 1), 0)
    nights = [table.filter(even), table.filter(pc.invert(even))]
    days = [dt.date(2008, 3, 20), dt.date(2008, 3, 21)]
    assert judged(repository / "configs" / "hillstrom.yaml", nights, days, tmp_path).findings == ()


def test_ebnerd_in_two_nights(data_folder: Path, tmp_path: Path) -> None:
    ebnerd.prepare(data_folder / "ebnerd", tmp_path)
    table = pq.read_table(tmp_path / "impressions.parquet")
    days = [dt.date(2023, 2, 27), dt.date(2023, 2, 28)]
    of_day = pc.cast(table["impression_time"], pa.date32())
    report = judged(ebnerd.CONFIG, [table.filter(pc.equal(of_day, day)) for day in days], days, tmp_path)
    assert report.errors == ()
    found = {(finding.check, finding.subject) for finding in report.warnings}
    assert ("new_values", "article") in found  # news: most articles are of the day
