"""Which files of the data a night reads."""

from __future__ import annotations

from datetime import date
from pathlib import Path

import pytest

from ranker.errors import DataError
from training.nightly import NightlyConfig, Paths

LAST = date(2026, 3, 1)  # the day before is in February


@pytest.fixture
def log(tmp_path: Path) -> Path:
    for day in ("2026-02-27", "2026-02-28", "2026-03-01", "2026-03-02"):
        for part in ("b", "a"):
            folder = tmp_path / "day=x" / f"date={day}"
            folder.mkdir(parents=True, exist_ok=True)
            (folder / f"{part}.parquet").write_bytes(b"")
    (folder / "notes.txt").write_text("")
    return tmp_path / "day=x"


def days(data: str | Path, config: NightlyConfig) -> list[str]:
    source = Paths(str(data), Path("runs"), Path("registry")).source(LAST, config)
    return [file.split("date=")[1] for file in source.files]


def test_the_window_ends_on_the_day(log: Path) -> None:
    assert days(log, NightlyConfig(window_days=1)) == ["2026-03-01/a.parquet", "2026-03-01/b.parquet"]
    assert {file[:10] for file in days(log, NightlyConfig(window_days=2))} == {"2026-02-28", "2026-03-01"}
    assert {file[:10] for file in days(log, NightlyConfig(window_days=99))} == {
        "2026-02-27",
        "2026-02-28",
        "2026-03-01",
    }
    assert len(days(log, NightlyConfig())) == 8


def test_the_date_can_stand_in_the_path(log: Path) -> None:
    assert {file[:10] for file in days(f"{log}/date={{date}}", NightlyConfig())} == {"2026-03-01"}


def test_no_file_of_those_days_is_an_error_that_names_the_key(log: Path) -> None:
    with pytest.raises(DataError, match=r"'day=YYYY-MM-DD'.*nightly\.partition"):
        days(log, NightlyConfig(window_days=2, partition="day"))
    with pytest.raises(DataError, match="does not exist"):
        days(f"{log}/{{date}}", NightlyConfig())


def test_the_listing_changes_with_every_file(log: Path) -> None:
    paths = Paths(str(log), Path("runs"), Path("registry"))
    before = paths.source(LAST, NightlyConfig(window_days=1)).listing()
    assert paths.source(LAST, NightlyConfig(window_days=1)).listing() == before
    (log / "date=2026-03-01" / "a.parquet").write_bytes(b"more")
    after = paths.source(LAST, NightlyConfig(window_days=1)).listing()
    assert [one == other for one, other in zip(before, after, strict=True)] == [False, True]
