"""Primary and auxiliary tasks: follow the primaries, and do the auxiliaries no harm."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, ClassVar, Literal

import numpy as np
import torch
from pydantic import Field
from scipy.optimize import nnls
from torch import Tensor

from ranker.weighting.base import by_task, check_names
from ranker.weighting.gram_based import GramOptions, GramWeighting
from ranker.weighting.min_norm import Array, factor, min_norm

# Shapes: T = all tasks, K = the tasks that take part in one call, J = the auxiliaries among them, R = width of a factor

Margin = Annotated[float, Field(ge=0, le=1)]

# 1 / (1 + squared length) of the change that margins ask for, below which they contradict one another: a change 1e4
# times as long as the gradients would be of no use to anyone.
_CONTRADICTION = 1e-8


class PrimaryAuxiliary(GramWeighting):
    """The update that helps primaries most among those that harm no auxiliary.

    With one primary it is the projection of its gradient g_0 on {u : <u, g_j> >= 0 for every auxiliary j}. With several
    it maximises min_i <g_i, u> - ||u||^2 / 2 over the primaries on the same set. Both are the shortest combination
    u = sum_i x_i g_i + sum_j x_j g_j with x >= 0 and sum over primaries x_i = 1. All tasks primary is MGDA.

    With a margin, each auxiliary must gain: <u, h_j> >= margin * ||h_j||^2, where h = g / (running root mean square of
    ||g||), and the update is rescaled to ||g_0||: Priority-Constrained Descent (PCD), "Not All Objectives Are Born
    Equal", TMLR 2026. It is defined for one primary. `state["square_norms"]` [T] and `state["num_norms"]` [T] hold the
    running means; `state["contradictory_margin_steps"]` counts the steps whose margins could not all hold.

    To learn from noisy labels, make the loss on noisy rows the primary and that on clean rows the auxiliary.

    Note:
        The published coordinate iteration, which always turns to the auxiliary that is harmed most, can stop at a
        point that is allowed and not the projection. The solver here is exact.

        Where margins contradict one another, PCD drops every constraint; here they become 0, so that auxiliaries are
        still not harmed. PCD adds a constant to the mean squares, which would make results depend on the gradients'
        scale; there is none here.
    """

    absolute: ClassVar[bool] = True  # an auxiliary alone gets what `without_primary` says

    class Config(GramOptions):
        """Options of `PrimaryAuxiliary`."""

        name: Literal["primary_auxiliary"] = "primary_auxiliary"
        primaries: tuple[str, ...] | None = Field(
            None, min_length=1, description="Tasks to follow; all others are auxiliary. null: all are primary."
        )
        margin: Margin | dict[str, Margin] = Field(
            0.0,
            description="Share of an auxiliary's own progress that it must get, by name or one for all auxiliaries; "
            "0: no harm is enough. A task not named has 0. Above 0 it needs exactly one primary.",
        )
        norm_decay: float = Field(
            0.999, ge=0, lt=1, description="Weight of the past in the gradients' running mean square, with a margin."
        )
        without_primary: Literal["skip", "rest"] = Field(
            "skip",
            description="What happens when no primary takes part in a step: skip: no shared update; "
            "rest: the auxiliaries stand in as primaries.",
        )

        def build(self, task_names: Sequence[str]) -> PrimaryAuxiliary:
            """The method for these tasks.

            Raises:
                ValueError: A primary or margin is for a task that does not exist, or a margin is above 0 for a primary
                    or with more than one primary.
            """
            return PrimaryAuxiliary(self, task_names)

    def __init__(self, config: Config, task_names: Sequence[str]) -> None:
        super().__init__(config, task_names)
        self.norm_decay, self.without_primary = config.norm_decay, config.without_primary
        primaries = self.task_names if config.primaries is None else config.primaries
        check_names("primaries", primaries, self.task_names)
        self.primary_T = torch.tensor([task in primaries for task in self.task_names])
        self.margins_T = by_task("margin", config.margin, self.task_names, default=0.0)
        if isinstance(config.margin, dict) and (self.margins_T[self.primary_T] > 0).any():
            raise ValueError(f"`margin` must be of auxiliaries, got {config.margin} with primaries {primaries}")
        if self.margins_T.any() and self.primary_T.sum() > 1:
            raise ValueError(
                f"`margin` must be 0 unless there is exactly one primary, got primaries {primaries}; "
                "name the one that matters most"
            )

    def initial_state(self) -> dict[str, Tensor]:
        """State before the first step; it moves only with a margin."""
        num_tasks = len(self.task_names)
        return super().initial_state() | {
            "square_norms": torch.zeros(num_tasks, dtype=torch.float64),
            "num_norms": torch.zeros(num_tasks, dtype=torch.int64),
            "contradictory_margin_steps": torch.zeros((), dtype=torch.int64),
        }

    def _solve_gram(self, tasks_K: Tensor, losses_K: Tensor, gram_KK: Tensor) -> Tensor:
        del losses_K
        primary_K = self.primary_T[tasks_K]
        if not primary_K.any():
            if self.without_primary == "skip":
                return torch.zeros(len(tasks_K), dtype=torch.float64)
            primary_K = ~primary_K
        elif self.margins_T.any():
            return self._with_margins(tasks_K, gram_KK, primary_K)
        return torch.from_numpy(min_norm(factor(gram_KK.numpy()), primary_K.numpy()))

    def _with_margins(self, tasks_K: Tensor, gram_KK: Tensor, primary_K: Tensor) -> Tensor:
        scales_K = 1 / self._running_norms(tasks_K, gram_KK.diagonal().sqrt())
        factor_KR = factor((gram_KK * scales_K[:, None] * scales_K).numpy())
        primary, margins_J = int(primary_K.nonzero()), self.margins_T[tasks_K][~primary_K].numpy()
        found_K = project_with_margins(factor_KR, primary, margins_J)
        if found_K is None:
            self.state["contradictory_margin_steps"] = self.state["contradictory_margin_steps"] + 1
            found_K = project_with_margins(factor_KR, primary, np.zeros_like(margins_J))
            assert found_K is not None  # standing still harms no one
        weights_K = torch.from_numpy(found_K) * scales_K
        square = weights_K @ gram_KK @ weights_K
        # A vanished update has no length to rescale; it is stationary.
        return weights_K * (gram_KK[primary, primary] / square).sqrt() if square > 0 else weights_K

    def _running_norms(self, tasks_K: Tensor, norms_K: Tensor) -> Tensor:
        """Take in the norms of this step; hand back the root mean squares [K], which count early steps in full."""
        squares_T, counts_T = self.state["square_norms"], self.state["num_norms"]
        squares_K = self.norm_decay * squares_T[tasks_K] + (1 - self.norm_decay) * norms_K.square()
        counts_K = counts_T[tasks_K] + 1
        self.state["square_norms"] = squares_T.index_put((tasks_K,), squares_K)
        self.state["num_norms"] = counts_T.index_put((tasks_K,), counts_K)
        return (squares_K / (1 - self.norm_decay**counts_K)).sqrt()


def project_with_margins(factor_KR: Array, primary: int, margins_J: Array) -> Array | None:
    """Weights of the update nearest to the primary's gradient that gives every auxiliary its margin.

    The least distance problem min ||z|| subject to <f_j, f_0 + z> >= margin_j ||f_j||^2, as one non-negative least
    squares problem: Lawson and Hanson, "Solving Least Squares Problems", 1974, chapter 23.

    Args:
        factor_KR: One normalised gradient per row; none is zero.
        primary: The primary's row.
        margins_J: Margins of the others, in order.

    Returns:
        Weights [K], 1 for the primary; None if the margins contradict one another.
    """
    auxiliary_K = np.arange(len(factor_KR)) != primary
    rows_JR = factor_KR[auxiliary_K]
    lengths_J = np.linalg.norm(rows_JR, axis=1)
    unit = np.linalg.norm(factor_KR) / np.sqrt(len(factor_KR))
    bounds_J = (margins_J * lengths_J - rows_JR @ factor_KR[primary] / lengths_J) / unit
    target = np.append(np.zeros(factor_KR.shape[1]), 1.0)
    weights_K = np.ones(len(factor_KR))
    if len(rows_JR) > 0:
        x_J, _ = nnls(np.vstack([(rows_JR / lengths_J[:, None]).T, bounds_J]), target, maxiter=100 * len(factor_KR))
        rest = 1 - bounds_J @ x_J  # is 1 / (1 + ||z||^2)
        if rest <= _CONTRADICTION:
            return None
        weights_K[auxiliary_K] = x_J / rest * unit / lengths_J
    return weights_K
