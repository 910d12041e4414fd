"""Embedding tables for training: torchrec's collection, shared between features, sharded by torchrec when asked."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torchrec import EmbeddingBagCollection, EmbeddingBagConfig, KeyedJaggedTensor, KeyedTensor, PoolingType

from ranker.encoding import Encoded
from ranker.layers.plain_tables import PlainTables
from ranker.representation import columns_by_feature
from ranker.schema import CategoricalListFeature, FeatureSpec, Schema, embedded, embedding_dim, table_name

# Shapes: B = rows, D = width of the pooled representation, P = width of all pooled features, S = embedding sets

# torchrec keeps tables in a ModuleDict, which refuses the names of its own methods: `items`, `values`, `type`.
TABLE_PREFIX = "table_"


class Block(NamedTuple):
    """Pooled features that are neighbours in the representation.

    Attributes:
        first: Place of the first among the embedded features.
        width: Columns of all of them, over all embedding sets.
    """

    first: int
    width: int


class EmbeddingLayer(nn.Module):
    """Pools every feature of a batch to the representation that architectures read.

    The columns are, in this order: the request's embeddings, its plain numbers, the item's embeddings, its plain
    numbers; so a scorer may compute the request's part once and broadcast it. An architecture may want several
    embedding sets: then every table holds that many embeddings side by side in a row, and the representation that many
    times those columns, one set after the other, the plain numbers in each.

    Args:
        schema: Which features there are, and which table each reads.
        num_embeddings: Rows of every table, as `Encoder.num_embeddings` gives them.
        device: Where the tables are made; `meta` when a sharding plan will place them.
        num_sets: Embedding sets S.

    Attributes:
        width: Columns of one set.
        output_dim: Columns of the representation: D of `x_BD`.
    """

    def __init__(
        self,
        schema: Schema,
        num_embeddings: Mapping[str, int],
        device: torch.device | None = None,
        num_sets: int = 1,
    ) -> None:
        super().__init__()
        self.schema, self.num_sets = schema, num_sets
        self.request_features = [f for f in schema.side_features("request") if embedded(f)]
        self.item_features = [f for f in schema.side_features("item") if embedded(f)]
        self.features = self.request_features + self.item_features
        self.feature_names = [feature.name for feature in self.features]
        self._has_request_numbers = len(self.request_features) < len(schema.side_features("request"))
        self.width = sum(len(columns) for columns in columns_by_feature(schema).values())
        self.output_dim = num_sets * self.width
        tables = table_configs(schema, num_embeddings, num_sets)
        self.collection: nn.Module | None = EmbeddingBagCollection(tables=tables, device=device) if tables else None
        self._blocks: list[Block] = []

    def forward(self, encoded: Encoded) -> Tensor:
        """Representation of B rows, `x_BD`; both sides of `encoded` hold the same rows."""
        parts: list[list[Tensor]] = [[], []]  # of the request, of the item
        if self.collection is not None:
            values_BP = self._pooled(encoded)
            widths = [block.width for block in self._blocks]
            split = values_BP.split(widths, dim=1) if len(widths) > 1 else [values_BP]
            weights = self.bag_weights(encoded)
            for block, values_BV in sorted(zip(self._blocks, split, strict=True), key=lambda pair: pair[0].first):
                weight_B = weights[block.first]
                weighted_BV = values_BV if weight_B is None else values_BV * weight_B.unsqueeze(1)
                side = int(block.first >= len(self.request_features))
                parts[side].append(weighted_BV.unflatten(1, [self.num_sets, -1]))
        for side, encoded_side in enumerate(encoded):
            parts[side].append(encoded_side.numeric_BN.unsqueeze(1).expand(-1, self.num_sets, -1))
        filled = [part_BSV for part_BSV in (*parts[0], *parts[1]) if part_BSV.shape[2]]
        return (filled[0] if len(filled) == 1 else torch.cat(filled, dim=2)).flatten(1)

    def _pooled(self, encoded: Encoded) -> Tensor:
        """Sums of all bags, [B, P], in the order that `_blocks` then tells."""
        request, item = encoded
        ids, lengths = torch.cat([request.ids, item.ids]), torch.cat([request.lengths, item.lengths])
        num_rows = request.numeric_BN.shape[0]
        if isinstance(self.collection, PlainTables):
            values_BP: Tensor = self.collection(ids, lengths.view(len(self.features), num_rows))
            names = [self.feature_names[place] for place in self.collection.order]
        else:
            assert self.collection is not None
            pooled = self.collection(
                KeyedJaggedTensor(keys=self.feature_names, values=ids, lengths=lengths, stride=num_rows)
            )
            pooled = pooled if isinstance(pooled, KeyedTensor) else pooled.wait()
            names, values_BP = pooled.keys(), pooled.values()
        self._blocks = self._blocks or self._blocks_of(names)
        return values_BP

    def _blocks_of(self, names: Sequence[str]) -> list[Block]:
        """The fewest pieces from which the representation can be put together: features come pooled table by table."""
        columns = columns_by_feature(self.schema)
        blocks: list[Block] = []
        before = len(self.features)
        for name in names:
            place, width = self.feature_names.index(name), self.num_sets * len(columns[name])
            if self._neighbours(before, place):
                blocks[-1] = Block(blocks[-1].first, blocks[-1].width + width)
            else:
                blocks.append(Block(place, width))
            before = place
        return blocks

    def _neighbours(self, before: int, place: int) -> bool:
        """Whether nothing has to be done to two features that come pooled one after the other."""
        if place != before + 1 or self.num_sets > 1:
            return False
        if any(_pools_mean(feature) for feature in self.features[before : place + 1]):
            return False
        return place != len(self.request_features) or not self._has_request_numbers

    def bag_weights(self, encoded: Encoded) -> list[Tensor | None]:
        """Weight of each id of a row in its bag, per embedded feature [B]: 1 / length for means, None for one."""
        # Tables pool by sum; a mean is the sum over the length, so that features of one table may pool differently.
        lengths_EB = self.lengths(encoded)
        return [
            1.0 / lengths_EB[place].clamp(min=1) if _pools_mean(feature) else None
            for place, feature in enumerate(self.features)
        ]

    def lengths(self, encoded: Encoded) -> Tensor:
        """Ids per embedded feature and row, [E, B]."""
        num_rows = encoded.request.numeric_BN.shape[0]
        return torch.cat([encoded.request.lengths, encoded.item.lengths]).view(len(self.features), num_rows)

    def by_feature(self, x_BD: Tensor) -> list[Tensor]:
        """The part of `x_BD`, or of anything shaped like it, that each embedded feature fills: [..., B, V] with V the
        columns of its table."""
        x_BSD = x_BD.unflatten(-1, [self.num_sets, self.width])
        columns = columns_by_feature(self.schema)
        slices = [columns[feature.name] for feature in self.features]
        return [x_BSD[..., part.start : part.stop].flatten(-2) for part in slices]


def table_configs(schema: Schema, num_embeddings: Mapping[str, int], num_sets: int = 1) -> list[EmbeddingBagConfig]:
    """torchrec's description of every table, each named once, however many features share it."""
    by_table: dict[str, list[FeatureSpec]] = {}
    for feature in (*schema.side_features("request"), *schema.side_features("item")):
        if embedded(feature):
            by_table.setdefault(table_name(feature), []).append(feature)
    return [
        EmbeddingBagConfig(
            name=TABLE_PREFIX + table,
            num_embeddings=num_embeddings[table],
            embedding_dim=num_sets * embedding_dim(schema, features[0]),
            feature_names=[feature.name for feature in features],
            pooling=PoolingType.SUM,
        )
        for table, features in by_table.items()
    ]


def _pools_mean(feature: FeatureSpec) -> bool:
    return isinstance(feature, CategoricalListFeature) and feature.pooling == "mean"
