"""What a bundle's `model.pt` is: lookups and an architecture in plain torch, one request against many items."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ranker.encoding import ModelSide
from ranker.schema import CategoricalListFeature, Schema, embedded, table_name

# Shapes: R = requests, L = item rows of all requests, B = rows of one side, D = width of the representation
# S = embedding sets, V = one side's columns in one set


class ScoringGraph(nn.Module):
    """The trained network in the form that scores: the request's part is computed once and broadcast over its items.

    Plain torch only: a server needs neither torchrec nor fbgemm to run it. Scriptable.

    Args:
        schema: The features, in the order that the architecture was trained on.
        tables: Weights of every embedding table, float32 [rows, embedding_dim].
        architecture: From the representation `x_LD` to one raw output per task.
        num_sets: Embedding sets S that lie side by side in every table's rows.
    """

    def __init__(
        self, schema: Schema, tables: Mapping[str, Tensor], architecture: nn.Module, num_sets: int = 1
    ) -> None:
        super().__init__()
        self.schema, self.tables, self.num_sets = schema, dict(tables), num_sets
        self.request = SideLookup(schema, "request", tables, num_sets)
        self.item = SideLookup(schema, "item", tables, num_sets)
        self.architecture = architecture

    def forward(
        self,
        request_ids: Tensor,
        request_lengths: Tensor,
        request_numeric_RN: Tensor,
        item_ids: Tensor,
        item_lengths: Tensor,
        item_numeric_LN: Tensor,
        request_index_L: Tensor,
    ) -> dict[str, Tensor]:
        """Raw task outputs [L] by task name: logits of binary tasks, predictions of regressions.

        Args:
            request_ids: Table rows of the R requests, flat and feature-major; see `SideTensors`.
            request_lengths: Bag lengths, [E * R].
            request_numeric_RN: Plain numeric inputs of the requests.
            item_ids: Table rows of the L item rows, flat and feature-major.
            item_lengths: Bag lengths, [E * L].
            item_numeric_LN: Plain numeric inputs of the item rows.
            request_index_L: Which request each item row belongs to, int64 in [0, R).
        """
        request_RSV = self.request(request_ids, request_lengths, request_numeric_RN)
        item_LSV = self.item(item_ids, item_lengths, item_numeric_LN)
        x_LD = torch.cat([request_RSV[request_index_L], item_LSV], dim=2).flatten(1)
        outputs: dict[str, Tensor] = self.architecture(pad_rows(x_LD))
        scores: dict[str, Tensor] = {}
        for task, padded in outputs.items():
            scores[task] = padded[: x_LD.size(0)]
        return scores


def pad_rows(x_BD: Tensor, block: int = 64) -> Tensor:
    """Rows of zeros behind `x_BD`, up to the next multiple of `block`.

    Matrix products take another path through the rows that do not fill a block, and round otherwise there. Without
    padding, two candidates with the same features could differ in the last bit, and a tie would be broken by chance.
    """
    return F.pad(x_BD, [0, 0, 0, -x_BD.size(0) % block])


class SideLookup(nn.Module):
    """The representation of one side, per embedding set: pooled embeddings in order, then the plain numbers."""

    def __init__(self, schema: Schema, side: ModelSide, tables: Mapping[str, Tensor], num_sets: int) -> None:
        super().__init__()
        self.num_sets = num_sets
        features = [feature for feature in schema.side_features(side) if embedded(feature)]
        self.num_features = len(features)
        self.bags = nn.ModuleList(
            Bag(tables[table_name(f)], f.pooling if isinstance(f, CategoricalListFeature) else None) for f in features
        )

    def forward(self, ids: Tensor, lengths: Tensor, numeric_BN: Tensor) -> Tensor:
        """Columns of the representation that belong to this side, [B, S, V]."""
        parts: list[Tensor] = []
        if self.num_features > 0:
            lengths_EB = lengths.view(self.num_features, numeric_BN.size(0))
            counts: list[int] = lengths_EB.sum(dim=1).tolist()
            ids_by_feature = torch.split(ids, counts)
            for place, bag in enumerate(self.bags):
                parts.append(bag(ids_by_feature[place], lengths_EB[place]).unflatten(1, [self.num_sets, -1]))
        parts.append(numeric_BN.unsqueeze(1).expand(-1, self.num_sets, -1))
        return torch.cat(parts, dim=2)


class Bag(nn.Module):
    """One feature's lookup: a plain one where every row has one value, a pooled one for lists."""

    def __init__(self, weight: Tensor, pooling: str | None) -> None:
        super().__init__()
        self.weight = weight if isinstance(weight, nn.Parameter) else nn.Parameter(weight, requires_grad=False)
        self.is_list = pooling is not None
        self.mode = pooling or "sum"

    def forward(self, ids: Tensor, lengths_B: Tensor) -> Tensor:
        """Pooled embedding of each row, [B, embedding_dim]; zero for an empty bag."""
        if not self.is_list:
            return F.embedding(ids, self.weight)
        offsets_B = torch.cumsum(lengths_B, 0) - lengths_B
        return F.embedding_bag(ids, self.weight, offsets_B, mode=self.mode)
