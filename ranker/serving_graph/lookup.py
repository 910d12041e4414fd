"""One side's share of the representation, as few lookups as there are widths of tables."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ranker.encoding import ModelSide
from ranker.representation import columns_by_feature
from ranker.schema import (
    CategoricalListFeature,
    Schema,
    embedded,
    table_name,
)
from ranker.serving_graph.tables import Place, StackedTables

# Shapes: B = rows of one side, K = B or more, S = embedding sets, V = one side's columns in one set,
# E = embedded features, G = features of one width with one value per row, M = K * G,
# W = rows of all tables of that width, N = plain numbers


class SideLookup(nn.Module):
    """The representation of one side: embeddings width by width, then lists, then plain numbers, then padding.

    Args:
        schema: The features.
        side: The side.
        tables: The embedding tables.
        num_sets: Embedding sets S; the representation holds the side's columns once per set.
        block: Each set's columns are padded with zeros to a multiple of this.

    Attributes:
        columns: Which column of the representation each of this side's is, over all sets; -1: padding.
    """

    def __init__(self, schema: Schema, side: ModelSide, tables: StackedTables, num_sets: int, block: int = 1) -> None:
        super().__init__()
        features = [feature for feature in schema.side_features(side) if embedded(feature)]
        self.num_features, self.num_sets = len(features), num_sets
        places = [tables.places[table_name(feature)] for feature in features]
        lists = [number for number, feature in enumerate(features) if isinstance(feature, CategoricalListFeature)]
        self.has_lists = bool(lists)
        stacks: list[Lookup] = []
        self.bags, order = nn.ModuleList(), []
        for width in sorted(tables.weights):
            group = [n for n, place in enumerate(places) if place.width == width and n not in lists]
            if group:
                stacks.append(Lookup(tables.weights[width], group, places, num_sets))
                order += group
        for number in lists:
            feature, place = features[number], places[number]
            assert isinstance(feature, CategoricalListFeature)
            self.bags.append(Bag(tables.weights[place.width], number, place, feature.pooling))
        names = [features[number].name for number in (*order, *lists)]
        names += [feature.name for feature in schema.side_features(side) if not embedded(feature)]
        self.columns = _columns(schema, names, num_sets, block)
        self.num_columns = len(self.columns) // num_sets
        # A single lookup writes all columns, those included that others fill, so that nothing need be copied together.
        self.num_looked_up = stacks[0].widen(self.num_columns) if len(stacks) == 1 and not lists else 0
        self.stacks = nn.ModuleList(stacks)

    def forward(self, ids: Tensor, lengths: Tensor, numeric_BN: Tensor, num_rows: int) -> Tensor:
        """The side's columns, [num_rows, S * V].

        Args:
            ids: Table rows of B rows, flat and feature-major; see `SideTensors`.
            lengths: Bag lengths, [E * B].
            numeric_BN: Plain numbers.
            num_rows: Rows to give: B, or more; the rows behind B hold anything finite.
        """
        num_filled = numeric_BN.size(0)
        x_KSV = torch.empty([num_rows, self.num_sets, 0 if self.num_looked_up else self.num_columns])
        start = self.num_looked_up
        if self.has_lists:
            lengths_EB = lengths.view(self.num_features, num_filled)
            counts: list[int] = lengths_EB.sum(dim=1).tolist()
            by_feature = list(torch.split(ids, counts))
            for stack in self.stacks:
                start = put(x_KSV, start, stack(torch.stack(stack.pick(by_feature)), num_rows))  # type: ignore[operator]
            for bag in self.bags:
                pooled_BSV = bag(by_feature, lengths_EB).unflatten(1, [self.num_sets, -1])
                start = put(x_KSV, start, F.pad(pooled_BSV, [0, 0, 0, 0, 0, num_rows - num_filled]))
        elif self.num_features > 0:
            ids_EB = ids.view(self.num_features, num_filled)
            for stack in self.stacks:
                part_KSV = stack(stack.take(ids_EB), num_rows)  # type: ignore[operator]
                if self.num_looked_up:
                    x_KSV = part_KSV
                else:
                    start = put(x_KSV, start, part_KSV)
        rest_KSV = x_KSV.narrow(2, start, x_KSV.size(2) - start).zero_()
        rest_KSV[:num_filled, :, : numeric_BN.size(1)].copy_(numeric_BN.unsqueeze(1))
        return x_KSV.flatten(1)


def _columns(schema: Schema, names: Sequence[str], num_sets: int, block: int) -> list[int]:
    """Column of the representation that each column of features is, set by set; -1: padding up to a whole block."""
    by_feature = columns_by_feature(schema)
    width = sum(map(len, by_feature.values()))
    own = [column for name in names for column in by_feature[name]]
    num_padding = max(block, -len(own) // block * -block) - len(own) if block > 1 else 0
    sets = ([column + number * width for column in own] + [-1] * num_padding for number in range(num_sets))
    return [column for of_set in sets for column in of_set]


def put(x_KSV: Tensor, start: int, part_KSV: Tensor) -> int:
    """Write a part into the columns from `start` on; gives the column behind it."""
    stop = start + part_KSV.size(2)
    x_KSV[:, :, start:stop] = part_KSV
    return stop


class Lookup(nn.Module):
    """Lookups of all features of one width that have one value per row, as one."""

    def __init__(self, weight_W: Tensor, group: Sequence[int], places: Sequence[Place], num_sets: int) -> None:
        super().__init__()
        self.weight = weight_W
        self.group = list(group)
        self.num_sets = num_sets
        self.num_extra = 0
        self.places_G: Tensor = nn.Buffer(torch.tensor(group))
        self.starts_G1: Tensor = nn.Buffer(torch.tensor([[places[number].start] for number in group]))

    @torch.jit.ignore  # type: ignore[untyped-decorator]
    def widen(self, num_columns: int) -> int:
        """Give so many columns from now on: the last ones hold anything.

        Returns:
            How many of them are embeddings; 0: it cannot give just so many, and gives embeddings alone.
        """
        width = self.weight.size(1) // self.num_sets
        num_looked_up = len(self.group) * width
        if num_columns % width:
            return 0
        self.num_extra = num_columns // width - len(self.group)
        return num_looked_up

    def take(self, ids_EB: Tensor) -> Tensor:
        """The ids of those features that this looks up, [G, B]."""
        taken_GB: Tensor = ids_EB if len(self.group) == ids_EB.size(0) else ids_EB[self.places_G]
        return taken_GB

    def pick(self, by_feature: list[Tensor]) -> list[Tensor]:
        """Those of all features that this looks up."""
        return [by_feature[number] for number in self.group]

    def forward(self, ids_GB: Tensor, num_rows: int) -> Tensor:
        """Embeddings side by side, [K, S, columns]: of the ids of B rows, and of anything in the rows behind.

        Of anything, too, in as many further columns as `widen` asked for.
        """
        num_features = ids_GB.size(0) + self.num_extra
        rows_KG = (ids_GB + self.starts_G1).t()
        if [num_rows, num_features] != [rows_KG.size(0), rows_KG.size(1)]:
            rows_KG = F.pad(rows_KG, [0, num_features - rows_KG.size(1), 0, num_rows - rows_KG.size(0)])
        # Bags of one: the same rows as by `F.embedding`, by a kernel that fetches the next ones ahead.
        bounds = torch.arange(rows_KG.numel() + 1)
        values_MV = F.embedding_bag(rows_KG.flatten(), self.weight, bounds, mode="sum", include_last_offset=True)
        width = self.weight.size(1) // self.num_sets
        values_KGSV: Tensor = values_MV.view(num_rows, num_features, self.num_sets, width)
        return values_KGSV.transpose(1, 2).flatten(2)


class Bag(nn.Module):
    """A list feature's lookup: the sum or mean of a row's embeddings; zeros for an empty list."""

    def __init__(self, weight_W: Tensor, number: int, place: Place, pooling: str) -> None:
        super().__init__()
        self.weight = weight_W
        self.number, self.start, self.mode = number, place.start, pooling

    def forward(self, by_feature: list[Tensor], lengths_EB: Tensor) -> Tensor:
        """Pooled embedding of each row, [B, columns]."""
        lengths_B = lengths_EB[self.number]
        offsets_B = torch.cumsum(lengths_B, 0) - lengths_B
        pooled: Tensor = F.embedding_bag(by_feature[self.number] + self.start, self.weight, offsets_B, mode=self.mode)
        return pooled
