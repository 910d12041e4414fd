"""The network in training: sharded tables and an architecture, with whole states in and out."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torchrec import EmbeddingBagCollection
from torchrec.distributed import DistributedModelParallel

from ranker.encoding import Encoded, Encoder
from ranker.layers.embedding import TABLE_PREFIX, EmbeddingLayer
from ranker.layers.plain_tables import PlainTables
from ranker.models import build_architecture
from ranker.schema import table_name
from ranker.scoring import ScoringGraph, pad_rows
from training.config import ExperimentConfig
from training.distributed import TableState, average, gather, scatter, shard, table_states
from training.errors import ConfigError
from training.row_optimizer import RowOptimizer

# Shapes: B = rows


class Network:
    """Tables and architecture of one experiment.

    Args:
        config: The experiment.
        encoder: Decides how many rows each table has.
        device: Where this process computes.
    """

    def __init__(self, config: ExperimentConfig, encoder: Encoder, device: torch.device) -> None:
        self.config, self.encoder, self.device = config, encoder, device
        self.num_sets = config.model.num_embedding_sets(config.data_schema.task_names)
        self.embedding = EmbeddingLayer(config.data_schema, encoder.num_embeddings, torch.device("meta"), self.num_sets)
        self._row_optimizer: RowOptimizer | None = None
        if isinstance(self.embedding.collection, EmbeddingBagCollection):
            self.embedding.collection = self._placed(self.embedding.collection)
        torch.manual_seed(config.training.seed)
        self.architecture = build_architecture(config.model, config.data_schema).to(device)
        live = self.table_states()
        for name, state in live.items():
            if "/" not in name:
                scatter({name: _initial(name, state.size, config)}, {name: state})

    def _placed(self, collection: EmbeddingBagCollection) -> nn.Module:
        """The tables where the configuration wants them, with their optimizer."""
        tables, world = self.config.training.tables, dist.get_world_size()
        alone_on_a_cpu = world == 1 and self.device.type == "cpu"
        if tables.placement == "sharded" or (tables.placement == "auto" and not alone_on_a_cpu):
            sharded: nn.Module = shard(collection, tables, self.device)
            return sharded
        if world > 1:
            raise ConfigError(
                f"`training.tables.placement` must be 'auto' or 'sharded' with {world} processes, got 'plain': plain "
                "tables are not exchanged; set it, or train in one process"
            )
        configs = {table.name.removeprefix(TABLE_PREFIX): table for table in collection.embedding_bag_configs()}
        plain = PlainTables(
            {name: table.num_embeddings for name, table in configs.items()},
            {name: table.embedding_dim for name, table in configs.items()},
            [table_name(feature) for feature in self.embedding.features],
            self.device,
        )
        self._row_optimizer = RowOptimizer(plain, tables)
        return plain

    def table_states(self) -> dict[str, TableState]:
        """Live tensors of the tables and of their fused optimizer."""
        if self._row_optimizer is not None:
            return self._row_optimizer.states()
        if isinstance(self.embedding.collection, DistributedModelParallel):
            return table_states(self.embedding.collection)
        return {}

    def state(self) -> dict[str, Tensor]:
        """Whole copies of every weight and of the tables' optimizer state: the same for any number of processes."""
        dense = {f"architecture/{name}": t.detach().cpu().clone() for name, t in self.architecture.state_dict().items()}
        return {**dense, **{f"tables/{name}": tensor for name, tensor in gather(self.table_states()).items()}}

    def load_state(self, state: Mapping[str, Tensor]) -> None:
        """Take over what `state` gave, on any number of processes."""
        prefix = "architecture/"
        self.architecture.load_state_dict({k.removeprefix(prefix): v for k, v in state.items() if k.startswith(prefix)})
        live = self.table_states()
        scatter({name: state[f"tables/{name}"] for name in live}, live)

    def average_buffers(self) -> None:
        """Make statistics that each process gathered from its own rows those of all of them."""
        average([buffer for buffer in self.architecture.buffers() if buffer.is_floating_point()])

    @torch.no_grad()
    def predict(self, encoded: Encoded) -> dict[str, Tensor]:
        """Raw task outputs [B] by task name, dropout off."""
        was_training = self.architecture.training
        self.architecture.eval()
        x_BD = self.embedding(encoded)
        outputs: dict[str, Tensor] = self.architecture(pad_rows(x_BD))
        self.architecture.train(was_training)
        return {task: padded[: len(x_BD)] for task, padded in outputs.items()}

    def scoring_graph(self) -> ScoringGraph:
        """The same network in plain torch, ready to be scripted."""
        state = self.state()
        tables = {
            k.removeprefix("tables/"): v for k, v in state.items() if k.startswith("tables/") and k.count("/") == 1
        }
        shared = {name: nn.Parameter(weight, requires_grad=False) for name, weight in tables.items()}
        architecture = build_architecture(self.config.model, self.config.data_schema)
        architecture.load_state_dict(self.architecture.state_dict())
        return ScoringGraph(self.config.data_schema, shared, architecture, self.num_sets).eval()


def _initial(name: str, size: torch.Size, config: ExperimentConfig) -> Tensor:
    """First values of a table: they depend on its name and the seed, not on the number of processes."""
    seed = hashlib.sha256(f"{config.training.seed}/{name}".encode()).digest()[:8]
    random = torch.Generator().manual_seed(int.from_bytes(seed, "little") % 2**63)
    return torch.randn(size, generator=random) * config.training.tables.init_std
