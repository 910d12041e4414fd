"""SVD reweighting: weights from how far each task lies along the directions that all tasks have in common."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar, Literal

import torch
from pydantic import Field
from torch import Tensor

from ranker.errors import DataError
from ranker.weighting.base import Weighting, WeightingOptions

# Shapes: N = sampled rows, D = width of the representation, T = all tasks, K = those of one call


class SVD(Weighting):
    """Constant weights ||U_r' theta_i||, with theta_i = X' y_i and U_r the first r left singular vectors of all theta.

    Wu, Zhang and Ré, "Understanding and Improving Information Transfer in Multi-Task Learning", ICLR 2020,
    algorithm 2. They are computed once, from the representation and the labels of a sample of training rows; until
    then all are 1. The signs that an SVD leaves open do not matter.

    Note:
        The paper's tasks share every row of X. Here theta_i is over the rows where task i has a label. With rare
        positives, uncentred labels measure little but their number; `centre` them then. Weights grow with the number
        of rows and the unit of the labels, as published; `per_row` and `sum_k` take that out. At full rank they are
        ||X' y_i||.
    """

    absolute: ClassVar[bool] = True

    class Config(WeightingOptions):
        """Options of `SVD`."""

        name: Literal["svd"] = "svd"
        rank: int = Field(1, ge=1, description="Directions r that count as common, at most the number of tasks.")
        sample_rows: int = Field(8192, ge=1, description="Training rows that the weights are computed from.")
        centre: bool = Field(False, description="Take the mean off each task's labels.")
        per_row: bool = Field(False, description="Divide theta_i by the number of its labelled rows.")
        sum_k: bool = Field(False, description="Rescale the weights to sum to the number of tasks.")

        def build(self, task_names: Sequence[str]) -> SVD:
            """The method for these tasks.

            Raises:
                ValueError: The rank is above the number of tasks.
            """
            return SVD(self, task_names)

    def __init__(self, config: Config, task_names: Sequence[str]) -> None:
        super().__init__(config, task_names)
        if config.rank > len(self.task_names):
            raise ValueError(f"`rank` must be at most the number of tasks, {len(self.task_names)}, got {config.rank}")
        self.rank, self.sample_rows = config.rank, config.sample_rows
        self.centre, self.per_row, self.sum_k = config.centre, config.per_row, config.sum_k

    def initial_state(self) -> dict[str, Tensor]:
        """State before the first step: `weights_T`, all 1."""
        return super().initial_state() | {"weights_T": torch.ones(len(self.task_names), dtype=torch.float64)}

    @torch.no_grad()
    def observe_data(self, x_ND: Tensor, labels_NT: Tensor, mask_NT: Tensor) -> None:
        """Compute the weights from a sample of training rows.

        Raises:
            DataError: A task's labels in the sample say nothing of X: none, or all 0 (with `centre`: all the same).
        """
        x_ND, labels_NT, mask_NT = (tensor.detach().cpu() for tensor in (x_ND, labels_NT, mask_NT))
        labels_NT = torch.where(mask_NT, labels_NT.double(), 0)
        counts_T = mask_NT.sum(0).clamp(min=1)
        if self.centre:
            labels_NT = torch.where(mask_NT, labels_NT - labels_NT.sum(0) / counts_T, 0)
        theta_DT = x_ND.double().T @ labels_NT
        if self.per_row:
            theta_DT = theta_DT / counts_T
        if silent := [task for task, size in zip(self.task_names, theta_DT.norm(dim=0), strict=True) if size == 0]:
            raise DataError(
                f"SVD reweighting needs labels other than 0 (with `centre`: that differ) of every task, got none of "
                f"{silent} in a sample of {len(x_ND)} training rows; raise weighting.sample_rows"
            )
        weights_T = common_norms(theta_DT, self.rank)
        self.state["weights_T"] = weights_T * len(weights_T) / weights_T.sum() if self.sum_k else weights_T

    def _solve(self, tasks_K: Tensor, losses_K: Tensor, gram_KK: Tensor) -> Tensor:
        del losses_K, gram_KK
        return self.state["weights_T"][tasks_K]


def common_norms(theta_DT: Tensor, rank: int) -> Tensor:
    """Length [T] of each column's projection on the first `rank` left singular vectors of all."""
    directions_DR = torch.linalg.svd(theta_DT, full_matrices=False).U[:, :rank]
    lengths_T: Tensor = (directions_DR.T @ theta_DT).norm(dim=0)
    return lengths_T
