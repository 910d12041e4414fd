"""Going on from an earlier model: what both know stays to the last bit, what is new starts as it would have anyway."""

from __future__ import annotations

import shutil
from copy import deepcopy
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from torch import Tensor

from ranker.encoding import Encoder
from tests.training.conftest import SETTINGS, make_log
from training.config import ExperimentConfig
from training.data import Impressions
from training.errors import ConfigError
from training.progress import Progress
from training.run import RunResult
from training.trainer import Trainer
from training.warm_start import CarriedOver, TrainedState, row_sources

Settings = dict[str, Any]

pytestmark = pytest.mark.usefixtures("group")


@pytest.fixture(scope="session")
def earlier(trained: RunResult, run_folder: Path) -> TrainedState:
    """A trained run."""
    return TrainedState.load(run_folder)


@pytest.fixture(scope="session")
def next_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The log of the next day: other rows, items that nobody has seen, some old ones gone."""
    table = make_log(500, seed=21)
    items = [f"new{item[1:]}" if int(item[1:]) % 3 == 0 else item for item in table["item_id"].to_pylist()]
    path = tmp_path_factory.mktemp("next") / "log.parquet"
    pq.write_table(table.set_column(table.column_names.index("item_id"), "item_id", pa.array(items)), path)
    return path


def build(settings: Settings, data: Path, earlier: Encoder | None) -> Trainer:
    config = ExperimentConfig.model_validate(settings)
    impressions = Impressions(data, config)
    rows = impressions.rows("train")
    encoder = Encoder.fit(config.data_schema, rows) if earlier is None else earlier.extend(rows)
    return Trainer(config, impressions, encoder, Progress(quiet=True))


def tables(state: dict[str, Tensor], table: str) -> dict[str, Tensor]:
    """Weights and optimizer state of a table."""
    return {name: tensor for name, tensor in state.items() if f"{name}/".startswith(f"tables/{table}/")}


def assert_rows(
    carried: dict[str, Tensor], fresh: dict[str, Tensor], old: dict[str, Tensor], encoders: Any, table: str
) -> int:
    """Every row of a value that both know is the old one, every other the fresh one; how many are old."""
    new_encoder, old_encoder = encoders
    new, known = new_encoder.vocabularies[table], old_encoder.vocabularies[table]
    places = {
        value: place for place, value in enumerate(known.values.to_pylist(), start=known.num_rows - len(known.values))
    }
    num_old = 0
    for row, value in enumerate(new.values.to_pylist(), start=new.num_rows - len(new.values)):
        for name, tensor in tables(carried, table).items():
            if tensor.dim() == 0:
                continue
            source = old[name][places[value]] if value in places else fresh[name][row]
            assert torch.equal(tensor[row], source), (name, value)
        num_old += value in places
    return num_old


@pytest.mark.parametrize("overflow", [0, 5])
def test_ids_keep_their_rows_and_new_ones_start_afresh(overflow: int, log_file: Path, next_file: Path) -> None:
    settings = deepcopy(SETTINGS)
    settings["training"]["epochs"] = 1
    if overflow:
        settings["schema"]["tables"]["items"]["encoding"] |= {"overflow": "hash", "overflow_buckets": overflow}
    before = build(settings, log_file, None)
    before.fit(490)
    old = before.network.state()
    state = TrainedState("run x", before.encoder, old, before.step.state_dict())
    after, fresh = build(settings, next_file, before.encoder), build(settings, next_file, before.encoder)
    carried = after.warm_start(state)
    assert any(name.count("/") == 2 for name in tables(old, "items"))  # the optimizer's state is among what is kept
    for table in before.encoder.vocabularies:
        num_old = assert_rows(after.network.state(), fresh.network.state(), old, (after.encoder, before.encoder), table)
        shared = before.encoder.num_embeddings[table] - num_old  # missing, unknown, overflow
        assert carried.kept_rows[table] == before.encoder.num_embeddings[table]
        assert carried.new_rows[table] == after.encoder.num_embeddings[table] - before.encoder.num_embeddings[table]
        for name, tensor in tables(after.network.state(), table).items():
            if tensor.dim():
                assert torch.equal(tensor[:shared], old[name][:shared])
    assert carried.new_rows["items"] > 0
    assert carried.dense
    assert carried.optimizers
    for name, tensor in old.items():
        if name.startswith("architecture/"):
            assert torch.equal(after.network.state()[name], tensor)
    for name, tensor in before.step.state_dict().items():
        assert torch.equal(after.step.state_dict()[name], tensor), name


def test_another_schema_keeps_the_values_it_still_has(
    settings: Settings, earlier: TrainedState, next_file: Path
) -> None:
    del settings["schema"]["features"][0]  # `city`
    after, fresh = build(settings, next_file, None), build(settings, next_file, None)
    carried = after.warm_start(earlier)
    assert after.encoder.vocabularies["items"].values != earlier.encoder.vocabularies["items"].values
    num_old = assert_rows(
        after.network.state(), fresh.network.state(), earlier.network, (after.encoder, earlier.encoder), "items"
    )
    assert 0 < num_old < len(after.encoder.vocabularies["items"].values)
    assert not carried.dense
    assert not carried.optimizers
    assert "network starts afresh" in carried.sentence()
    assert "the features, their scale or the model are others" in carried.sentence()
    assert torch.equal(after.network.state()["tables/tags"], earlier.network["tables/tags"])  # hashed: as many buckets
    dense = {name: t for name, t in after.network.state().items() if name.startswith("architecture/")}
    assert all(torch.equal(tensor, fresh.network.state()[name]) for name, tensor in dense.items())
    after.fit(350)


def test_numbers_on_another_scale_are_not_read_by_the_earlier_network(
    settings: Settings, earlier: TrainedState, next_file: Path
) -> None:
    price = next(feature for feature in settings["schema"]["features"] if feature["name"] == "price")
    price["transforms"] = ["standardize"]  # the same columns, another scale
    after, fresh = build(settings, next_file, None), build(settings, next_file, None)
    carried = after.warm_start(earlier)
    assert not carried.dense
    assert carried.kept_rows["items"] > 2
    # Fitted on other rows, the buckets of `age` have other bounds.
    assert carried.kept_rows["age"] == 0
    assert torch.equal(after.network.state()["tables/age"], fresh.network.state()["tables/age"])


@pytest.mark.parametrize(
    ("section", "values", "said"),
    [
        ("model", {"num_experts": 5}, "network starts afresh"),
        ("model", {"name": "shared_bottom"}, "network starts afresh"),
        ("weighting", {"name": "famo"}, "the balance is another"),
        ("weighting", {"name": "pe_ltr"}, "optimizers start afresh"),
        ("training", {"tables": {"name": "sgd"}}, "network kept"),
    ],
)
def test_another_experiment_takes_what_fits_and_says_so(
    section: str, values: Settings, said: str, settings: Settings, earlier: TrainedState, log_file: Path
) -> None:
    settings[section] = (
        settings.get(section, {}) | values if "num_experts" in values or section == "training" else values
    )
    trainer = build(settings, log_file, earlier.encoder)
    assert said in trainer.warm_start(earlier).sentence()
    trainer.config.training.model_copy(update={"epochs": 1})
    for table in ("items", "city"):
        assert torch.equal(trainer.network.state()[f"tables/{table}"], earlier.network[f"tables/{table}"])
    trainer.fit(490)


def test_another_width_means_a_table_starts_afresh(settings: Settings, earlier: TrainedState, log_file: Path) -> None:
    settings["schema"]["tables"]["items"]["embedding_dim"] = 24
    trainer, fresh = build(settings, log_file, None), build(settings, log_file, None)
    carried = trainer.warm_start(earlier)
    assert "table 'items' is new or has another width" in carried.sentence()
    assert carried.kept_rows["items"] == 0
    for name, tensor in tables(fresh.network.state(), "items").items():
        assert torch.equal(trainer.network.state()[name], tensor)


def test_overflow_rows_mean_the_same_only_in_the_same_number(settings: Settings, log_file: Path) -> None:
    def encoder(buckets: int) -> Encoder:
        content = deepcopy(settings)
        content["schema"]["tables"]["items"]["encoding"] |= {"overflow": "hash", "overflow_buckets": buckets}
        config = ExperimentConfig.model_validate(content)
        return Encoder.fit(config.data_schema, Impressions(log_file, config).rows("train"))

    three, seven = encoder(3), encoder(7)
    sources_V = row_sources(three, seven, "items")
    assert sources_V[:9].tolist() == [0, 1, -1, -1, -1, -1, -1, -1, -1]
    assert np.array_equal(sources_V[9:], np.arange(5, three.num_embeddings["items"]))
    assert np.array_equal(row_sources(three, three, "items"), np.arange(three.num_embeddings["items"]))


def test_of_a_bundle_without_its_run(
    trained: RunResult, earlier: TrainedState, settings: Settings, log_file: Path
) -> None:
    assert trained.bundle is not None
    state = TrainedState.of_bundle(trained.bundle)
    assert not state.with_optimizers
    for name, tensor in state.network.items():
        assert torch.equal(tensor, earlier.network[name]), name
    assert {n for n in earlier.network if n.count("/") == 1 or n.startswith("architecture/")} == set(state.network)
    trainer = build(settings, log_file, state.encoder)
    carried = trainer.warm_start(state)
    assert carried.dense
    assert not carried.optimizers
    assert "optimizers start afresh" in carried.sentence()


def test_a_run_that_left_nothing_readable_is_named(run_folder: Path, trained: RunResult, tmp_path: Path) -> None:
    assert trained.bundle is not None
    shutil.copytree(run_folder / "trained", tmp_path / "trained")
    assert TrainedState.of_run(tmp_path, trained.bundle.encoder).with_optimizers
    for path in (tmp_path / "trained").glob("*/state.safetensors"):
        path.write_bytes(b"")
    with pytest.raises(ConfigError, match=f"{tmp_path.name}.*holds no state"):
        TrainedState.of_run(tmp_path, trained.bundle.encoder)


def test_the_sentence_counts_rows() -> None:
    carried = CarriedOver("run x", {"a": 1000, "b": 234}, {"a": 5, "b": 0}, True, True)
    assert (
        carried.sentence() == "warm start from run x: 1,234 rows of tables kept, 5 new, network kept, optimizers go on"
    )
