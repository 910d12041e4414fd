"""A training run that is watched: gradients, affinities and losses of the tasks, measured without changing it."""

from __future__ import annotations

import torch
from torch import Tensor

from ranker.encoding import Encoder
from training.batches import Batch
from training.config import ExperimentConfig
from training.data import Impressions
from training.diagnostics.affinity import Affinity, affinity
from training.diagnostics.gradients import GradientAgreement, gradient_agreement
from training.diagnostics.lookahead import losses_after_each
from training.diagnostics.loss_share import LossShare, loss_share
from training.diagnostics.task_gradients import task_gradients, task_losses, without_dropout
from training.errors import DivergenceError
from training.progress import Progress
from training.step import StepResult
from training.trainer import Trainer

# Shapes: T = tasks, N = steps, P = measurements

GRAMS_PER_EPOCH = 10
AFFINITIES_PER_EPOCH = 5
_HELD_OUT_ROWS = 16_384


class WatchedTrainer(Trainer):
    """Trains exactly as `Trainer` does, and measures before some of the steps.

    Measurements see the network without dropout, draw no random number, and put back all that they move.

    Args:
        config, impressions, encoder, progress: As `Trainer` takes them.
        num_train_rows: Rows of the training split: measurements are spread evenly over each epoch.
        affinities: Whether to measure affinities too; each costs a step and a look at held-out rows per task.
    """

    def __init__(
        self,
        config: ExperimentConfig,
        impressions: Impressions,
        encoder: Encoder,
        progress: Progress,
        num_train_rows: int,
        affinities: bool = True,
    ) -> None:
        super().__init__(config, impressions, encoder, progress)
        num_steps = -(-num_train_rows // config.training.batch_size)
        self._gram_every = max(1, num_steps // GRAMS_PER_EPOCH)
        self._affinity_every = max(1, num_steps // AFFINITIES_PER_EPOCH) if affinities else 0
        held_out = next(impressions.batches("valid", encoder, _HELD_OUT_ROWS, seed=config.training.seed))
        encoded, targets, _ = held_out.to(self.device)
        self._held_out = encoded, targets
        self._can_judge = bool(self._held_out[1].mask_BT.any(dim=0).all())
        self._grams: dict[int, Tensor] = {}
        self._lookaheads: dict[int, tuple[Tensor, Tensor]] = {}
        self._results: list[StepResult] = []

    def gradients(self) -> GradientAgreement:
        """Cosines of the tasks' gradients over the run.

        Raises:
            DivergenceError: No measured step had finite gradients.
        """
        return gradient_agreement(self.tasks, list(self._grams), self._all_grams().numpy())

    def affinity(self) -> Affinity | None:
        """What a step for one task did to the others, over the run.

        None if it was never measured: not asked for, or a task too rare to be in the batches or the held-out rows.
        """
        if not self._lookaheads:
            return None
        before_PT, after_PTT = (torch.stack(part).numpy() for part in zip(*self._lookaheads.values(), strict=True))
        return affinity(self.tasks, list(self._lookaheads), before_PT, after_PTT)

    def loss_share(self) -> LossShare:
        """Shares of the tasks in losses, weights and gradients over the run.

        Raises:
            DivergenceError: No measured step had finite gradients.
        """
        return loss_share(
            self.tasks,
            losses_NT=torch.stack([result.losses_T.double().cpu() for result in self._results]).numpy(),
            weights_NT=torch.stack([result.weights_T.double().cpu() for result in self._results]).numpy(),
            active_NT=torch.stack([result.active_T.cpu() for result in self._results]).numpy(),
            gradient_steps=list(self._grams),
            norms_PT=self._all_grams().diagonal(dim1=1, dim2=2).clamp(min=0).sqrt().numpy(),
        )

    def _all_grams(self) -> Tensor:
        if not self._grams:
            raise DivergenceError("no measured step had finite gradients of all tasks; lower the learning rates")
        return torch.stack(list(self._grams.values()))

    def _step(self, batch: Batch) -> StepResult:
        number = self.step.num_steps
        looks_ahead = self._affinity_every > 0 and number % self._affinity_every == 0
        if looks_ahead or number % self._gram_every == 0:
            self._measure(batch, number, looks_ahead)
        result = super()._step(batch)
        self._results.append(result)
        return result

    def _measure(self, batch: Batch, number: int, looks_ahead: bool) -> None:
        """Measure the tasks' gradients of this batch; a batch with a gradient that is not finite tells nothing."""
        encoded, targets, _ = batch.to(self.device)
        with without_dropout(self.network.architecture):
            gradients = task_gradients(self.network, self.step.objective, encoded, targets)
            gram_TT = gradients.gram(self.network, encoded)
            if not gram_TT.isfinite().all():
                return
            self._grams[number] = gram_TT
            if looks_ahead and self._can_judge and gradients.active_T.all():
                before_T = task_losses(self.network, self.step.objective, *self._held_out)
                after_TT = losses_after_each(self.network, self.step, encoded, gradients, self._held_out)
                self._lookaheads[number] = before_T, after_TT
