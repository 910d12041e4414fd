"""Embedding tables in plain torch: no kernels but torch's own, for one process."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

# Shapes: B = rows, E = embedded features, G = features of one group, N = looked-up ids, V = columns of a table
# P = width of all pooled features


class PlainTables(nn.Module):
    """Sums of bags, like torchrec's collection, from `torch.nn.functional.embedding_bag` with sparse gradients.

    Tables of one width form a group and lie in one tensor, so that a lookup in any number of them is a single call.

    Args:
        num_embeddings: Rows of every table, by name.
        widths: Columns of every table, by name.
        readers: Table of each feature, in the features' order.
        device: Where the tables are made, all zero.

    Attributes:
        groups: Weights of each group, [rows of all its tables, V].

    Example:
        >>> tables = PlainTables({"items": 5, "cities": 3}, {"items": 4, "cities": 4}, ["items", "cities"])
        >>> tables(torch.tensor([4, 0, 1, 2, 2]), torch.tensor([[1, 2], [1, 1]])).shape
        torch.Size([2, 8])
    """

    def __init__(
        self,
        num_embeddings: Mapping[str, int],
        widths: Mapping[str, int],
        readers: Sequence[str],
        device: torch.device | None = None,
    ) -> None:
        super().__init__()
        self._rows: dict[str, tuple[int, slice]] = {}  # group and rows of each table
        self._places: list[list[int]] = []  # of the features of each group
        self.groups = nn.ParameterList()
        for group, width in enumerate(sorted(set(widths.values()))):
            size = 0
            for name in (name for name in widths if widths[name] == width):
                self._rows[name] = group, slice(size, size + num_embeddings[name])
                size += num_embeddings[name]
            self._places.append([place for place, name in enumerate(readers) if widths[name] == width])
            self.groups.append(nn.Parameter(torch.zeros(size, width, device=device)))
        starts = [self._rows[name][1].start for name in readers]
        self.starts_E = nn.Buffer(torch.tensor(starts, device=device), persistent=False)

    def forward(self, ids: Tensor, lengths_EB: Tensor) -> Tensor:
        """Sum of every bag, [B, P], features side by side in their order.

        Args:
            ids: Table rows, feature by feature and in it row by row.
            lengths_EB: Ids of each bag.
        """
        counts_E = lengths_EB.sum(1)
        rows_N = ids + torch.repeat_interleave(self.starts_E, counts_E, output_size=len(ids))
        # Counts are asked for only where they are needed: on a GPU that waits for everything before.
        by_feature = rows_N.split(counts_E.tolist()) if len(self.groups) > 1 else ()
        pooled: dict[int, Tensor] = {}
        for weight, places in zip(self.groups, self._places, strict=True):
            group_N = torch.cat([by_feature[place] for place in places]) if by_feature else rows_N
            lengths_GB = torch.stack([lengths_EB[place] for place in places]) if by_feature else lengths_EB
            ends = lengths_GB.flatten().cumsum(0)
            sums = F.embedding_bag(group_N, weight, ends - lengths_GB.flatten(), mode="sum", sparse=True)
            pooled |= dict(zip(places, sums.view(len(places), -1, weight.shape[1]), strict=True))
        return torch.cat([pooled[place] for place in sorted(pooled)], dim=1)

    def by_table(self, groups: Sequence[Tensor]) -> dict[str, Tensor]:
        """Views of what belongs to each table.

        Args:
            groups: One tensor per group, whose first dimension is that of the group's weights.
        """
        return {name: groups[group][rows] for name, (group, rows) in self._rows.items()}
