"""MGDA: the shortest common update, which is the steepest descent that all tasks share."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import numpy as np
import torch
from pydantic import Field
from torch import Tensor

from ranker.weighting.gram_based import GramOptions, GramWeighting
from ranker.weighting.min_norm import Array, factor, min_norm

# Shapes: K = the tasks that take part in one call

Normalization = Literal["none", "l2", "loss", "loss+"]

_NO_SIZE = 1e-12  # of a normaliser, relative to the largest, below which a task is left out


class MGDA(GramWeighting):
    """Weights of the min-norm point in the convex hull of the gradients: min ||sum_i w_i g_i||, w >= 0, sum w = 1.

    Sener and Koltun, "Multi-Task Learning as Multi-Objective Optimization", NeurIPS 2018, equation 4. Every task's
    inner product with the update is at least the update's squared norm, so no task gets worse to first order.

    Note:
        With a normalisation, the min-norm point is that of g_i / N_i, and the raw gradients' weights are alpha_i / N_i,
        rescaled to sum to 1. Applying alpha itself to the raw gradients, as some implementations do, loses the common
        descent: it is the update of another problem. The point is exact, without the usual Frank-Wolfe iterations and
        without their weights of 0.001 and 0.999 where a task's weight is 0 or 1.
    """

    class Config(GramOptions):
        """Options of `MGDA`."""

        name: Literal["mgda"] = "mgda"
        normalization: Normalization = Field(
            "none",
            description="What each gradient is divided by before the problem is solved: none: nothing; l2: its norm; "
            "loss: the task's loss; loss+: both. A task whose divisor is not positive takes no part.",
        )

        def build(self, task_names: Sequence[str]) -> MGDA:
            """The method for these tasks."""
            return MGDA(self, task_names)

    def __init__(self, config: Config, task_names: Sequence[str]) -> None:
        super().__init__(config, task_names)
        self.normalization = config.normalization

    def _solve_gram(self, tasks_K: Tensor, losses_K: Tensor, gram_KK: Tensor) -> Tensor:
        del tasks_K
        sizes_K = normalizers(gram_KK.numpy(), losses_K.numpy(), self.normalization)
        return torch.from_numpy(normalized_min_norm(gram_KK.numpy(), sizes_K))


def normalizers(gram_KK: Array, losses_K: Array, kind: Normalization) -> Array:
    """What each gradient is divided by, [K].

    Args:
        gram_KK: Inner products of the gradients.
        losses_K: Losses of the tasks.
        kind: As in `MGDA.Config`.
    """
    norms_K = np.sqrt(np.diag(gram_KK))
    ones_K = np.ones_like(norms_K)
    return {"none": ones_K, "l2": norms_K, "loss": losses_K, "loss+": losses_K * norms_K}[kind]


def normalized_min_norm(gram_KK: Array, sizes_K: Array) -> Array:
    """Weights on the raw gradients whose combination is along the min-norm point of the normalised ones.

    Args:
        gram_KK: Inner products of the raw gradients.
        sizes_K: What each gradient is divided by. A task takes no part where that is at most 1e-12 of the largest.

    Returns:
        Weights [K] of sum 1; all 0 if no divisor is positive.
    """
    weights_K = np.zeros(len(sizes_K))
    sized_K = sizes_K > _NO_SIZE * max(0.0, sizes_K.max())
    if sized_K.any():
        relative_J = sizes_K[sized_K] / sizes_K.max()
        alpha_J = min_norm(factor(gram_KK[np.ix_(sized_K, sized_K)]) / relative_J[:, None])
        weights_K[sized_K] = alpha_J / relative_J / (alpha_J / relative_J).sum()
    return weights_K
