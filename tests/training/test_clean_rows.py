"""A few trusted rows keep wrong labels from teaching all that they would."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch

from ranker.encoding import Encoder
from ranker.errors import DataError
from training.batches import EncodedRows, RowNames, encode_batch
from training.clean_rows import CleanRows
from training.config import CleanRowsConfig, ExperimentConfig
from training.data import Impressions
from training.progress import Progress
from training.trainer import Trainer

Settings = dict[str, Any]

TRUSTED = 61  # of 490 training rows


@pytest.fixture
def flipped_file(log_table: pa.Table, tmp_path: Path) -> Path:
    """The log with `verified`: most training rows have the opposite label of clicks, the verified ones the right."""
    train = np.array(log_table.column("split").to_pylist()) == "train"
    verified = np.zeros(len(train), np.int64)
    verified[np.flatnonzero(train)[:: train.sum() // TRUSTED][:TRUSTED]] = 1
    click = log_table.column("click").to_numpy()
    wrong = train & (verified == 0) & (np.random.default_rng(4).random(len(click)) < 0.75)
    place = log_table.schema.get_field_index("click")
    table = log_table.set_column(place, "click", pa.array(np.where(wrong, 1 - click, click)))
    path = tmp_path / "flipped.parquet"
    pq.write_table(table.append_column("verified", pa.array(verified)), path, row_group_size=97)
    return path


def make(settings: Settings, **clean_rows: Any) -> ExperimentConfig:
    """The experiment with one task and, if any options are given, trusted rows."""
    settings["schema"]["tasks"], settings["schema"]["outputs"] = [{"name": "ctr", "label": "click"}], {}
    settings["fusion"] = None
    settings["training"]["clean_rows"] = clean_rows or None
    return ExperimentConfig.model_validate(settings)


def for_one_task(config: ExperimentConfig, encoder: Encoder) -> Encoder:
    return Encoder(config.data_schema, encoder.vocabularies, encoder.numeric_maps)


def times(names: RowNames) -> list[int]:
    """Times of rows, which no two rows have in common."""
    return [names.ids["time"][place].as_py() for place in names.places]


@pytest.mark.usefixtures("group")
def test_trusted_rows_resist_wrong_labels(settings: Settings, flipped_file: Path) -> None:
    auc = {}
    for column in (None, "verified"):
        config = make(settings, **({"column": column, "per_step": 48} if column else {}))
        impressions = Impressions(flipped_file, config)
        encoder = Encoder.fit(config.data_schema, impressions.rows("train"))
        trainer = Trainer(config, impressions, encoder, Progress(quiet=True))
        history = trainer.fit(490)
        auc[column] = np.mean([epoch.valid["ctr/auc"] for epoch in history.epochs])
        names = ("ctr", "ctr/clean") if column else ("ctr",)
        assert tuple(history.epochs[-1].losses) == tuple(history.epochs[-1].weights) == names
    assert auc[None] < 0.4 < auc["verified"] - 0.05


def test_only_marked_training_rows_are_trusted(settings: Settings, flipped_file: Path, encoder: Encoder) -> None:
    config = make(settings, column="verified", per_step=7)
    assert config.training.clean_rows is not None
    encoder = for_one_task(config, encoder)
    clean = CleanRows.load(Impressions(flipped_file, config), encoder, config.training.clean_rows, seed=3)
    rows = pq.read_table(flipped_file, filters=[("verified", "==", 1)])
    assert clean.rows.num_rows == TRUSTED
    assert times(clean.rows.names) == rows["time"].to_pylist()
    assert set(rows["split"].to_pylist()) == {"train"}


def test_draws_are_new_each_step_and_repeatable(log_table: pa.Table, encoder: Encoder) -> None:
    rows, batch = (EncodedRows.encode(encoder, log_table.slice(first, num)) for first, num in ((100, 20), (0, 5)))
    first, same, other = (
        [times(CleanRows(rows, 7, seed).beside(batch, *place).names) for place in ((1, 4), (1, 5), (2, 4))]
        for seed in (2, 2, 3)
    )
    assert first == same
    assert all(one != another for one, another in zip(first, other, strict=True))
    assert len(set(map(tuple, first))) == 3
    for drawn in first:
        assert drawn[:5] == log_table["time"][:5].to_pylist()
        assert len(set(drawn[5:]) & set(log_table["time"][100:120].to_pylist())) == 7


def test_trusted_rows_come_last(log_table: pa.Table, encoder: Encoder) -> None:
    rows, batch = (EncodedRows.encode(encoder, log_table.slice(first, num)) for first, num in ((100, 20), (0, 5)))
    together = CleanRows(rows, 7, seed=2).beside(batch, 1, 0)
    assert (together.num_rows, together.num_clean) == (12, 7)
    expected = encode_batch(encoder, log_table.take([time // 60 for time in times(together.names)]), num_clean=7)
    for found, wanted in zip(
        (*together.encoded.request, *together.encoded.item, *together.targets),
        (*expected.encoded.request, *expected.encoded.item, *expected.targets),
        strict=True,
    ):
        assert found is not None
        assert wanted is not None
        assert torch.equal(found, wanted)


def test_fewer_trusted_rows_than_asked_for_are_all_taken(log_table: pa.Table, encoder: Encoder) -> None:
    clean = CleanRows(EncodedRows.encode(encoder, log_table.slice(8, 2)), 512, seed=0)
    assert clean.per_step == 2
    together = clean.beside(EncodedRows.encode(encoder, log_table.slice(1, 1)), 1, 0)
    assert sorted(times(together.names)) == [60, 480, 540]


@pytest.mark.parametrize(
    ("values", "message"),
    [([0, 1, 2], "must be boolean, or 0, 1 or null"), (["a", "b", "c"], "must be boolean"), ([0, 0, 0], "marks no")],
    ids=str,
)
def test_a_column_that_marks_nothing_is_named(
    values: list[Any], message: str, settings: Settings, log_table: pa.Table, encoder: Encoder, tmp_path: Path
) -> None:
    path = tmp_path / "log.parquet"
    marks = pa.array([values[row % 3] for row in range(log_table.num_rows)])
    pq.write_table(log_table.append_column("verified", marks), path)
    config = make(settings, column="verified")
    with pytest.raises(DataError, match=f"column 'verified' of training.clean_rows {message}"):
        CleanRows.load(
            Impressions(path, config), for_one_task(config, encoder), CleanRowsConfig(column="verified"), seed=0
        )


def test_a_missing_column_is_named(settings: Settings, log_file: Path) -> None:
    with pytest.raises(DataError, match="lacks column 'verified'"):
        Impressions(log_file, make(settings, column="verified"))


def test_methods_on_gradients_cannot_be_had(settings: Settings) -> None:
    settings["weighting"] = {"name": "pe_ltr"}
    with pytest.raises(ValueError, match="must be a method that needs no Gram matrix, got PELTR"):
        make(settings, column="verified")
