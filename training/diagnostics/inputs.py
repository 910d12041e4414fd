"""How the input of each task varies, in the representation that a trained network has learnt."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from ranker.encoding import Encoded, Encoder, SideTensors
from ranker.representation import task_masks
from training.data import Impressions
from training.diagnostics.covariance import CovarianceSimilarity, covariance_similarity
from training.network import Network

# Shapes: T = tasks, B = rows, D = width of the representation

_ROWS = 65_536


@torch.no_grad()
def input_similarity(
    network: Network, encoder: Encoder, impressions: Impressions, seed: int, batch_size: int = 8192
) -> CovarianceSimilarity:
    """Covariance similarity of the tasks over about 65,536 random training rows: more where a task is rarer.

    Each task's rows are those that have its label; columns of features that it may not use count as 0.

    Args:
        network: Trained; its tables represent the rows.
        encoder: The one it was trained with.
        impressions: The data.
        seed: Chooses the rows.
        batch_size: Rows at a time.
    """
    schema = encoder.schema
    tasks, width = schema.task_names, network.embedding.output_dim
    features_TD = task_masks(schema, network.num_sets)
    covariances_TDD = np.zeros((len(tasks), width, width))
    num_rows_T = np.zeros(len(tasks), np.int64)
    num_seen = 0
    same_TT = np.array([[one.features == other.features for other in schema.tasks] for one in schema.tasks])
    for batch in impressions.batches("train", encoder, batch_size, seed):
        x_BD = represent(network, batch.encoded).double().cpu().numpy()
        mask_BT = batch.targets.mask_BT.numpy()
        for place in range(len(tasks)):
            own_ND = x_BD[mask_BT[:, place]]
            own_ND = own_ND if features_TD is None else own_ND * features_TD[place].numpy()
            covariances_TDD[place] += own_ND.T @ own_ND
        num_rows_T += mask_BT.sum(axis=0)
        same_TT &= (mask_BT[:, :, None] == mask_BT[:, None, :]).all(axis=0)
        num_seen += batch.num_rows
        if num_seen >= _ROWS and num_rows_T.all():
            break
    return covariance_similarity(tasks, covariances_TDD, num_rows_T.tolist(), same_TT)


def represent(network: Network, encoded: Encoded) -> Tensor:
    """Representation of encoded rows, `x_BD`, on the network's device."""
    sides = [SideTensors(*(tensor.to(network.device) for tensor in side)) for side in encoded]
    x_BD: Tensor = network.embedding(Encoded(*sides))
    return x_BD
