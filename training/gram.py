"""Inner products between the tasks' gradients: exact over all shared parameters, or at the representation.

The exact Gram is affordable because embedding gradients are sparse: a table adds, over the distinct rows of the batch,
the inner products of the gradients summed by row. Memory is in proportion to the batch, never to the tables.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import torch
from torch import Tensor

from ranker.encoding import Encoded
from ranker.layers.embedding import EmbeddingLayer
from ranker.layers.row_sums import sums_by_id
from ranker.schema import table_name
from training.distributed import average, gather_rows, total

# Shapes: T = tasks, B = rows, D = width of the representation, V = columns of a table
# N = (row, id) pairs of a table, U = its distinct ids, R = rows times the features that read the table


def dense_gram(gradients: Sequence[Sequence[Tensor]]) -> Tensor:
    """Gram matrix `gram_TT`, float64, of gradients given as one list of tensors per task."""
    count = len(gradients)
    gram_TT = torch.zeros(count, count, dtype=torch.float64)
    for parts in zip(*gradients, strict=True):
        flat = torch.stack([part.reshape(-1) for part in parts]).double()
        gram_TT += (flat @ flat.T).cpu()
    return gram_TT


def representation_gram(gradients_TBD: Tensor) -> Tensor:
    """Gram matrix of the gradients at the representation, the batch dimension flattened (MGDA-UB's choice).

    Exact for a move of the representation, not for a move of the parameters behind it.

    Args:
        gradients_TBD: Gradient of each task's loss; over several processes, of the loss scaled as `Step` scales it.
    """
    flat = gradients_TBD.reshape(gradients_TBD.shape[0], -1).double()
    world = torch.distributed.get_world_size()
    return total(flat @ flat.T).cpu() / world**2


def table_gram(embedding: EmbeddingLayer, encoded: Encoded, gradients_TBD: Tensor) -> Tensor:
    """Exact Gram matrix over all embedding tables, from the gradients at the representation.

    Repeated ids add up before the product is taken, within a bag, between rows, and between features of one table.

    Args:
        embedding: Which table each feature reads, and how it pools.
        encoded: The batch.
        gradients_TBD: Gradient of each task's loss with respect to the representation.
    """
    num_tasks = gradients_TBD.shape[0]
    gram_TT = torch.zeros(num_tasks, num_tasks, dtype=torch.float64)
    for ids_N, rows_N, gradients_RTV in _by_table(embedding, encoded, gradients_TBD):
        ids_U, sums_U = sums_by_id(ids_N, rows_N, gradients_RTV.flatten(1))
        sums_UTV = _over_processes(ids_U, sums_U.unflatten(1, gradients_RTV.shape[1:]))
        flat = sums_UTV.transpose(0, 1).reshape(num_tasks, -1)
        gram_TT += (flat @ flat.T).cpu()
    return gram_TT


def exact_gram(
    embedding: EmbeddingLayer, encoded: Encoded, gradients_TBD: Tensor, shared: Sequence[Sequence[Tensor]]
) -> Tensor:
    """Exact Gram matrix over all that the tasks share: the tables and the shared dense parameters.

    Args:
        embedding: The embedding layer of the network.
        encoded: The batch.
        gradients_TBD: Gradient of each task's loss with respect to the representation.
        shared: Gradients of the shared dense parameters, one list per task, already averaged over the processes.
    """
    gram_TT = table_gram(embedding, encoded, gradients_TBD)
    return gram_TT + dense_gram(shared) if shared and shared[0] else gram_TT


def average_gradients(gradients: Sequence[Sequence[Tensor]]) -> None:
    """Average gradients given as one list of tensors per task over the processes, in place."""
    average([part for parts in gradients for part in parts])


def _by_table(
    embedding: EmbeddingLayer, encoded: Encoded, gradients_TBD: Tensor
) -> Iterator[tuple[Tensor, Tensor, Tensor]]:
    """Per table: every looked-up id [N], which row did [N], and what each row brings to its ids, float64 [R, T, V]."""
    lengths_EB = embedding.lengths(encoded)
    ids_by_feature = torch.cat([encoded.request.ids, encoded.item.ids]).split(lengths_EB.sum(1).tolist())
    gradients_by_feature, weights = embedding.by_feature(gradients_TBD), embedding.bag_weights(encoded)
    readers_by_table: dict[str, list[int]] = {}
    for place, feature in enumerate(embedding.features):
        readers_by_table.setdefault(table_name(feature), []).append(place)
    for readers in readers_by_table.values():
        num_tasks, num_rows, num_columns = gradients_by_feature[readers[0]].shape
        parts = gradients_TBD.new_empty((len(readers), num_rows, num_tasks, num_columns), dtype=torch.float64)
        for part_BTV, place in zip(parts, readers, strict=True):
            part_BTV.copy_(gradients_by_feature[place].transpose(0, 1))
            if (weight_B := weights[place]) is not None:
                part_BTV *= weight_B[:, None, None]
        rows_N = torch.repeat_interleave(lengths_EB[readers].flatten())
        yield torch.cat([ids_by_feature[place] for place in readers]), rows_N, parts.flatten(0, 1)


def _over_processes(ids_U: Tensor, sums_UTV: Tensor) -> Tensor:
    """Gradient sums by row over all processes, of the loss averaged over them."""
    world = torch.distributed.get_world_size()
    if world == 1:
        return sums_UTV
    all_ids, all_sums = gather_rows(ids_U), gather_rows(sums_UTV)
    distinct, place = torch.unique(all_ids, return_inverse=True)
    return sums_UTV.new_zeros((len(distinct), *sums_UTV.shape[1:])).index_add_(0, place, all_sums) / world
