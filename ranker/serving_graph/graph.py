"""What a bundle's `model.pt` is: lookups, the request's products, and the network over items."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ranker.manifest import Precision
from ranker.scoring import ScoringGraph
from ranker.serving_graph.lookup import SideLookup
from ranker.serving_graph.served import serve
from ranker.serving_graph.tables import StackedTables

# Shapes: R = requests, L = item rows of all requests, K = L padded, X = 1 (one request) or K
# U and V = columns of the request's and of the item's side, P = request products, T = tasks

ROW_BLOCK = 64  # matrix products round otherwise in rows that do not fill a block
_COLUMN_BLOCK = 32  # and are slower for columns that do not


class ServingGraph(nn.Module):
    """A trained network in the form that serves: scores as `ScoringGraph`, computed once per request where it can be.

    Scriptable; plain torch only.

    Args:
        graph: The trained network, in eval mode.
        precision: bf16: large products in bfloat16.
        tables: The network's tables; None: stacked anew. Graphs may share them.
    """

    def __init__(self, graph: ScoringGraph, precision: Precision = "fp32", tables: StackedTables | None = None) -> None:
        super().__init__()
        tables = tables or StackedTables(graph.tables)
        self.table_names = tuple(tables.places)  # and their `Place`s: for `tables_of`
        self.places_T3 = nn.Buffer(torch.tensor([*tables.places.values()], dtype=torch.int64).view(-1, 3))
        self.request = SideLookup(graph.schema, "request", tables, graph.num_sets)
        self.item = SideLookup(graph.schema, "item", tables, graph.num_sets, _COLUMN_BLOCK)
        served = serve(graph.architecture, self.request.columns, self.item.columns, precision, graph.num_sets)
        self.weight_PU, self.bias_P = nn.Buffer(served.weight_PU), nn.Buffer(served.bias_P)
        self.network = served.network
        self.task_names = served.task_names
        self.eval()

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
        """Raw task outputs [L] by task name; arguments as those of `ScoringGraph`."""
        item_KV, request_XP = self.represent(
            request_ids,
            request_lengths,
            request_numeric_RN,
            item_ids,
            item_lengths,
            item_numeric_LN,
            request_index_L,
        )
        outputs: dict[str, Tensor] = {}
        for task, output_K in zip(self.task_names, self.network(item_KV, request_XP)):  # noqa: B905 (TorchScript)
            outputs[task] = output_K[: item_numeric_LN.size(0)]
        return outputs

    @torch.jit.export
    def represent(
        self,
        request_ids: Tensor,
        request_lengths: Tensor,
        request_numeric_RN: Tensor,
        item_ids: Tensor,
        item_lengths: Tensor,
        item_numeric_LN: Tensor,
        request_index_L: Tensor,
    ) -> tuple[Tensor, Tensor]:
        """What the network reads: `item_KV`, in rows up to the next bucket, and `request_XP`."""
        num_items, num_requests = item_numeric_LN.size(0), request_numeric_RN.size(0)
        num_rows = padded_rows(num_items)
        request_RU = self.request(request_ids, request_lengths, request_numeric_RN, num_requests)
        request_XP = F.linear(request_RU, self.weight_PU, self.bias_P)
        if num_requests != 1:
            request_XP = F.pad(request_XP[request_index_L], [0, 0, 0, num_rows - num_items])
        return self.item(item_ids, item_lengths, item_numeric_LN, num_rows), request_XP

    @torch.jit.ignore  # type: ignore[untyped-decorator]
    def example(self) -> tuple[Tensor, Tensor]:
        """Inputs of `network`, as an exporter wants them: `item_KV` and `request_1P`."""
        return torch.zeros(8 * ROW_BLOCK, len(self.item.columns)), torch.zeros(1, len(self.bias_P))


def padded_rows(num_rows: int) -> int:
    """Rows of the bucket that `num_rows` fall in: multiples of 64 up to 1,024, then of 256, beyond 4,096 of 1,024.

    Example:
        >>> [padded_rows(num) for num in (0, 1, 64, 500, 1025, 5000)]
        [0, 64, 64, 512, 1280, 5120]
    """
    block = 64
    if num_rows > 1024:
        block = 256
    if num_rows > 4096:
        block = 1024
    return (num_rows + block - 1) // block * block


def bucket_sizes(max_rows: int) -> list[int]:
    """Every bucket that up to `max_rows` rows may fall in, smallest first.

    Example:
        >>> bucket_sizes(130)
        [64, 128, 192]
    """
    sizes = [padded_rows(1)]
    while sizes[-1] < max_rows:
        sizes.append(padded_rows(sizes[-1] + 1))
    return sizes
