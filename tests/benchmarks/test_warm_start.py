"""The pure parts of the warm start benchmark."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
import torch

from benchmarks import warm_start
from benchmarks.support.nights import Ids, compare_ids
from benchmarks.support.nights_plot import plot_nights
from benchmarks.warm_start import FIRST, GOING_ON, NUM_NIGHTS, OUTPUTS, SCRATCH, WAYS, YESTERDAY, kept, markdown, world
from ranker.encoding import Encoder
from ranker.schema import Schema
from training.config import ExperimentConfig, load_config
from training.distributed import process_group
from training.network import Network
from training.warm_start import TrainedState, carry_over

CITIES = ["bath", "cork", "lyon"]


def _night(shift: float, *, trains: bool, warm: bool = True) -> dict[str, Any]:
    metrics = {f"{output}/auc": 0.7 + shift + 0.01 * place for place, output in enumerate(OUTPUTS)}
    if not trains:
        return {"metrics": metrics}
    ids = {"kept": 31, "new": 2} if warm else None
    seconds = {"train": 3.0, "night": 5.0, "cpu": 4.0}
    return {"metrics": metrics, "outcome": "published", "seconds": seconds, "ids": ids}


def _figures() -> dict[str, Any]:
    def night(seed: int, number: int) -> dict[str, Any]:
        noise = 0.001 * seed + 0.0001 * number
        old = {name: _night(noise - 0.02, trains=False) for name in (FIRST, YESTERDAY)}
        return old | {
            name: _night(noise + 0.01 * (name != SCRATCH), trains=True, warm=name != SCRATCH) for name in WAYS
        }

    runs = [{"seed": seed, "nights": [night(seed, number) for number in range(NUM_NIGHTS)]} for seed in (1, 2, 3)]
    return {"rows_per_day": 100, "runs": runs}


def test_the_world_has_a_week_the_nights_and_a_day_to_judge_the_last_one_on(repository: Path) -> None:
    config = world(seed=3, rows_per_day=500)
    assert config.num_days == 7 + NUM_NIGHTS + 1
    assert config.drift > 0
    assert config.new_items_per_day > 0
    assert load_config(repository / "configs" / "nightly.yaml").nightly.window_days == 7


def test_ways_differ_in_the_night_alone(repository: Path) -> None:
    path = repository / "configs" / "nightly.yaml"
    for settings in WAYS.values():
        config = load_config(path, settings)
        assert config.model_copy(update={"nightly": None}) == load_config(path).model_copy(update={"nightly": None})
    assert not load_config(path, WAYS[SCRATCH]).nightly.warm_start


def test_the_tables_pair_by_seed() -> None:
    tables = markdown(_figures())
    assert f"| {GOING_ON} | +0.0100 [+0.0100, +0.0100] |" in tables
    assert f"| {YESTERDAY} | -0.0200 [-0.0200, -0.0200] |" in tables
    assert "21 of 21" in tables
    assert f"{3 * NUM_NIGHTS} warm starts: {3 * NUM_NIGHTS * 31:,} rows" in tables


def test_the_plot_is_the_same_for_the_same_figures(tmp_path: Path) -> None:
    auc = {"ctr": {GOING_ON: [[0.001, 0.002], [0.003, 0.001]], SCRATCH: [[0.0, 0.0], [0.0, 0.0]]}}
    for name in ("one.svg", "two.svg"):
        plot_nights(auc, {SCRATCH: [[3.0, 4.0], [5.0, 3.0]]}, tmp_path / name)
    assert (tmp_path / "one.svg").read_bytes() == (tmp_path / "two.svg").read_bytes()
    assert GOING_ON in (tmp_path / "one.svg").read_text()


def test_seeds_are_kept_only_for_as_many_rows(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(warm_start, "RESULTS", tmp_path)
    assert kept(100) == []
    (tmp_path / "warm_start.json").write_text('{"rows_per_day": 100, "runs": [{"seed": 5}]}')
    assert kept(100) == [{"seed": 5}]
    assert kept(101) == []


def rows_of(cities: list[str]) -> list[pa.RecordBatch]:
    """Twice each city: a value that is seen once gets no row of its own."""
    return pa.table({"city": 2 * cities}).to_batches()  # type: ignore[no-any-return]


class TestIds:
    @pytest.fixture
    def networks(self) -> Iterator[tuple[TrainedState, Encoder, Network]]:
        schema = Schema.model_validate(
            {
                "embedding_dim": 4,
                "features": [{"name": "city", "side": "user", "kind": "categorical"}],
                "tasks": [{"name": "ctr", "label": "click"}],
            }
        )
        encoder = Encoder.fit(schema, rows_of(CITIES))
        extended = encoder.extend(rows_of(["nice", "lyon"]))
        with process_group():
            before, after = (self._network(schema, one, seed) for seed, one in ((1, encoder), (2, extended)))
            earlier = TrainedState("before", encoder, before.state(), {})
            carry_over(earlier, after, extended)
            yield earlier, extended, after

    def _network(self, schema: Schema, encoder: Encoder, seed: int) -> Network:
        training = {"seed": seed}
        config = ExperimentConfig.model_validate({"schema": schema.model_dump(mode="json"), "training": training})
        return Network(config, encoder, torch.device("cpu"))

    def test_rows_are_counted(self, networks: tuple[TrainedState, Encoder, Network]) -> None:
        earlier, encoder, network = networks
        rows = earlier.encoder.num_embeddings["city"]
        assert rows >= len(CITIES)
        assert compare_ids(earlier, encoder, network) == Ids(kept=rows, new=1)

    def test_a_changed_embedding_is_found(self, networks: tuple[TrainedState, Encoder, Network]) -> None:
        earlier, encoder, network = networks
        earlier.network["tables/city"][-1, 0] += 1e-7
        with pytest.raises(AssertionError, match="'tables/city' changed a known id"):
            compare_ids(earlier, encoder, network)

    def test_a_moved_id_is_found(self, networks: tuple[TrainedState, Encoder, Network]) -> None:
        earlier, _, network = networks
        other = Encoder.fit(earlier.encoder.schema, rows_of(["aarhus", *CITIES]))
        assert other.num_embeddings == network.encoder.num_embeddings
        with pytest.raises(AssertionError, match="'city' moved an id"):
            compare_ids(earlier, other, network)
