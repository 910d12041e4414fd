"""Going on from an earlier model: every id that both know keeps its embedding exactly, new ids start afresh."""

# Shapes: V = rows of a table

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import safetensors.torch
import torch
from torch import Tensor

from ranker.bundle import Bundle
from ranker.bundle_writer import ARCHITECTURE
from ranker.encoding import Encoder
from ranker.id_maps import NUM_RESERVED, VocabularyMap
from ranker.numeric_maps import NumericMap
from ranker.representation import columns_by_feature
from ranker.schema import FeatureSpec
from ranker.serving_graph.tables import tables_of
from training.checkpoint import Checkpoints
from training.errors import ConfigError
from training.flat_state import part
from training.network import Network

TRAINED = "trained"  # folder of a run: the state that training left, its optimizers included
ENCODER = "encoder"
BUNDLE = "bundle"


@dataclass(frozen=True, slots=True)
class TrainedState:
    """An earlier model, as training can go on from it.

    Attributes:
        source: Where it comes from, for people.
        encoder: The one it was trained with.
        network: Weights by name, as `Network.state` names them; with the tables' optimizer state if that was kept.
        step: State of the dense optimizer and of the balance; empty if only the weights were kept.
    """

    source: str
    encoder: Encoder
    network: dict[str, Tensor]
    step: dict[str, Tensor]

    @property
    def with_optimizers(self) -> bool:
        """Whether the optimizers can go on too."""
        return bool(self.step)

    @classmethod
    def load(cls, path: Path) -> TrainedState:
        """A run's state if `path` is the folder of one, or else the weights of the bundle there.

        Raises:
            ConfigError: The run left no state that can be read.
            BundleError: There is no such bundle, or it is damaged.
        """
        if (path / TRAINED).is_dir():
            return cls.of_run(path, Bundle.load(path / BUNDLE).encoder)
        return cls.of_bundle(Bundle.load(path / BUNDLE if (path / BUNDLE).is_dir() else path))

    @classmethod
    def of_bundle(cls, bundle: Bundle) -> TrainedState:
        """The weights in a bundle; optimizers start afresh."""
        network = {f"tables/{name}": weight.detach() for name, weight in tables_of(bundle.model).items()}
        if (path := bundle.path / ARCHITECTURE).exists():
            dense = safetensors.torch.load(path.read_bytes())
            network |= {f"architecture/{name}": tensor for name, tensor in dense.items()}
        return cls(f"bundle {bundle.manifest.version}", bundle.encoder, network, {})

    @classmethod
    def of_run(cls, folder: Path, encoder: Encoder) -> TrainedState:
        """What the run in `folder` left, optimizers included.

        Args:
            folder: Of a finished run.
            encoder: The one it was trained with.

        Raises:
            ConfigError: It left nothing that can be read; names the folder.
        """
        checkpoint = Checkpoints(folder / TRAINED).latest()
        if checkpoint is None:
            raise ConfigError(f"run '{folder}' holds no state in '{TRAINED}/'; give the folder of a finished run")
        return cls(f"run {folder.name}", encoder, part("network", checkpoint.state), part("step", checkpoint.state))


@dataclass(frozen=True, slots=True)
class CarriedOver:
    """What a new network took from an earlier model.

    Attributes:
        source: Where it came from.
        kept_rows: Rows of every table that both know, by table.
        new_rows: Rows that started afresh, by table.
        dense: Whether the architecture's weights were taken.
        optimizers: Whether the optimizers go on too.
        notes: What could not be taken, and why.
    """

    source: str
    kept_rows: dict[str, int]
    new_rows: dict[str, int]
    dense: bool
    optimizers: bool
    notes: tuple[str, ...] = ()

    def sentence(self) -> str:
        """One line for people."""
        rows = f"{sum(self.kept_rows.values()):,} rows of tables kept, {sum(self.new_rows.values()):,} new"
        parts = [rows, "network kept" if self.dense else "network starts afresh"]
        parts.append("optimizers go on" if self.optimizers else "optimizers start afresh")
        return f"warm start from {self.source}: {', '.join([*parts, *self.notes])}"


def carry_over(earlier: TrainedState, network: Network, encoder: Encoder) -> CarriedOver:
    """Write what an earlier model knows into a new network.

    Tables are matched by name and their rows by value, so the schema may have changed; the architecture's weights are
    taken only if it reads the same features in the same order and on the same scale, and every shape agrees.

    Args:
        earlier: The model to go on from.
        network: Freshly built.
        encoder: The network's.
    """
    state, notes = network.state(), []
    kept, new = {}, {}
    for name in (name for name in state if name.startswith("tables/") and name.count("/") == 1):
        table = name.removeprefix("tables/")
        source_V = row_sources(earlier.encoder, encoder, table)
        if name not in earlier.network or earlier.network[name].shape[1] != state[name].shape[1]:
            source_V = np.full(len(source_V), -1)
            notes.append(f"table '{table}' is new or has another width")
        for key in [name, *(key for key in state if key.startswith(f"{name}/"))]:
            _copy_rows(state[key], earlier.network.get(key), source_V)
        kept[table], new[table] = int((source_V >= 0).sum()), int((source_V < 0).sum())
    dense = _same_architecture(earlier, state, encoder)
    if dense:
        state |= {name: value for name, value in earlier.network.items() if name.startswith("architecture/")}
    else:
        notes.append("the features, their scale or the model are others")
    network.load_state(state)
    return CarriedOver(earlier.source, kept, new, dense, dense and earlier.with_optimizers, tuple(notes))


def row_sources(earlier: Encoder, encoder: Encoder, table: str) -> npt.NDArray[np.int64]:
    """Row of each of a table's rows [V] in the earlier encoder's table; -1 where that has none."""
    num_rows = encoder.num_embeddings[table]
    rows_V = np.arange(num_rows)
    if table not in earlier.num_embeddings:
        return np.full(num_rows, -1)
    new, old = encoder.vocabularies.get(table), earlier.vocabularies.get(table)
    if new is None or old is None:  # hashed rows mean the same where there are as many, buckets within the same bounds
        same_bounds = earlier.numeric_maps.get(table) == encoder.numeric_maps.get(table)
        same = new is old and same_bounds and num_rows == earlier.num_embeddings[table]
        return rows_V if same else np.full(num_rows, -1)
    return _places(old, new)


def _places(earlier: VocabularyMap, vocabulary: VocabularyMap) -> npt.NDArray[np.int64]:
    """Row of each row [V] of a vocabulary in an earlier one; -1 for values that had none of their own."""
    first, first_earlier = (found.num_rows - len(found.values) for found in (vocabulary, earlier))
    shared = (
        np.arange(first) if first == first_earlier else np.where(np.arange(first) < NUM_RESERVED, np.arange(first), -1)
    )
    rows = earlier.rows(vocabulary.values.to_numpy(zero_copy_only=False))
    return np.concatenate([shared, np.where(rows >= first_earlier, rows, -1)])


def _copy_rows(target: Tensor, source: Tensor | None, source_V: npt.NDArray[np.int64]) -> None:
    """Fill rows of a table, or of its optimizer's state, from those of an earlier one."""
    if source is None or source.shape[1:] != target.shape[1:] or target.dim() == 0:
        return
    known_V = torch.from_numpy(source_V >= 0)
    target[known_V] = source[torch.from_numpy(source_V)[known_V]].to(target.dtype)


def _same_architecture(earlier: TrainedState, state: Mapping[str, Tensor], encoder: Encoder) -> bool:
    """Whether the architecture reads the same columns, on the same scale, and has the same shapes."""
    shapes, known = (
        {name: tensor.shape for name, tensor in tensors.items() if name.startswith("architecture/")}
        for tensors in (state, earlier.network)
    )
    old, new = earlier.encoder.schema, encoder.schema
    same_input = columns_by_feature(old) == columns_by_feature(new) and _scales(earlier.encoder) == _scales(encoder)
    return same_input and old.task_names == new.task_names and shapes == known


def _scales(encoder: Encoder) -> list[tuple[FeatureSpec, NumericMap]]:
    """How numbers become inputs."""
    numeric = (feature for feature in encoder.schema.features if feature.name in encoder.numeric_maps)
    return [(feature, encoder.numeric_maps[feature.name]) for feature in numeric]
