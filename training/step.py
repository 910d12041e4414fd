"""One optimisation step: task losses, their balance, one weighted backward pass."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from ranker.encoding import Encoded
from ranker.layers.embedding import EmbeddingLayer
from ranker.losses import Objective, Targets, mean_losses, row_counts
from ranker.models import Architecture
from ranker.weighting import GramAverage, GramConfig, Weighting
from training.distributed import average, total
from training.errors import DivergenceError
from training.flat_state import flatten, nest, part
from training.gradients import assign, gradient_norm, gradients_by_task, mix, or_zero, with_zeros
from training.gram import average_gradients, dense_gram, exact_gram, representation_gram
from training.optimizer import load_optimizer_state, optimizer_state
from training.precision import Precision, products_in, resolve
from training.random_state import random_again, random_state
from training.shared_parameters import shared_and_own

# Shapes: T = tasks, B = rows, D = width of the representation

_ROWS_NAMED = 5  # in the message of an error


@dataclass(frozen=True, slots=True)
class StepResult:
    """What one step saw.

    Attributes:
        losses_T: Mean loss of each task over the labelled rows of all processes.
        weights_T: Weight of each task in the shared update.
        active_T: Tasks that had labelled rows and a finite loss.
    """

    losses_T: Tensor
    weights_T: Tensor
    active_T: Tensor


class Step:
    """Trains a network by one batch at a time.

    The representation `x_BD` is cut from the tables: gradients of single tasks stop there, so that the optimizer that
    is fused into the tables' backward pass runs exactly once, with the weighted gradient.

    Args:
        embedding: Tables, sharded or not; their optimizer is fused into their backward pass.
        architecture: From the representation to one raw output per task.
        objective: What the architecture is trained on.
        weighting: Balances the tasks.
        gram: How its Gram matrix is measured; None where it needs none.
        optimizer: Of the architecture's parameters.
        max_gradient_norm: Clip the dense gradient to this norm.
        max_bad_steps: Consecutive steps with a non-finite loss before `DivergenceError`.
        precision: Of the matrix products; `auto` as suits the device.

    Attributes:
        precision: What is used: `fp32` or `bf16`.

    Raises:
        ValueError: The Gram matrix is to be that of the last shared layer, and the architecture has none.
    """

    def __init__(
        self,
        embedding: EmbeddingLayer,
        architecture: Architecture,
        objective: Objective,
        weighting: Weighting,
        gram: GramConfig | None,
        optimizer: Optimizer,
        max_gradient_norm: float | None,
        max_bad_steps: int,
        precision: Precision = "fp32",
    ) -> None:
        self.embedding, self.architecture, self.objective = embedding, architecture, objective
        self.weighting, self.optimizer = weighting, optimizer
        self.max_gradient_norm, self.max_bad_steps = max_gradient_norm, max_bad_steps
        self.gram = gram
        self.device = next(architecture.parameters()).device
        self.precision = resolve(precision, self.device)
        num_tasks = len(weighting.task_names)
        self.average = GramAverage(gram, num_tasks) if gram is not None else None
        self.num_steps = 0
        self.bad_steps_T = torch.zeros(num_tasks, dtype=torch.int64)
        self._weights_T = torch.full((num_tasks,), 1 / num_tasks, dtype=torch.float64)
        self._shared, self._own = shared_and_own(architecture, objective, embedding.output_dim)
        self._last = architecture.last_shared_parameters() if gram is not None and gram.scope == "last_shared" else []

    def __call__(self, encoded: Encoded, targets: Targets) -> StepResult:
        """Train on one batch.

        Raises:
            DivergenceError: Losses were not finite for `max_bad_steps` steps on end; names the task, step and rows.
        """
        random = random_state(self.device)
        pooled_BD = self.embedding(encoded)
        x_BD = pooled_BD.detach().requires_grad_()
        outputs = self._outputs(x_BD)
        losses, labelled_T = self._losses(outputs, targets)
        means_T = torch.stack(losses).detach()
        average([means_T])
        # From here on everything about tasks is decided on the CPU: a GPU is waited for once.
        mean_T, labelled = torch.stack([means_T, labelled_T.to(means_T)]).cpu()
        labelled_T = labelled > 0
        active_T = labelled_T & torch.isfinite(mean_T)
        if active_T.any():
            gradient_BD, active_T = self._backward(encoded, x_BD, losses, mean_T, active_T)
            if active_T.any() and not self._apply(pooled_BD, gradient_BD):
                active_T = torch.zeros_like(active_T)
            if active_T.any() and self.weighting.needs_losses_after_step:
                self._look_back(encoded, targets, active_T, random)
        self._count_bad(labelled_T, active_T, outputs, targets)
        self.num_steps += 1
        return StepResult(mean_T, torch.where(active_T, self._weights_T, 0.0), active_T)

    def _outputs(self, x_BD: Tensor) -> dict[str, Tensor]:
        with products_in(self.precision, self.device):
            return self.architecture.training_outputs(x_BD)

    def state_dict(self) -> dict[str, Tensor]:
        """All that later steps depend on beside the network's state and torch's random state, as flat copies.

        The state of the balance, its average Gram matrix, the weights that stay until the next measurement, the
        counts of steps, and what the dense optimizer remembers.
        """
        own = {"num_steps": torch.tensor(self.num_steps), "bad_steps_T": self.bad_steps_T, "weights_T": self._weights_T}
        return {
            **{name: value.clone() for name, value in own.items()},
            **flatten("weighting", self.weighting.state_dict()),
            **(flatten("gram", self.average.state_dict()) if self.average is not None else {}),
            **flatten("optimizer", optimizer_state(self.optimizer, self.architecture)),
        }

    def load_state_dict(self, state: Mapping[str, Tensor]) -> None:
        """Take up what `state_dict` gave in the same experiment: later steps are those of the other, bit by bit.

        Raises:
            ValueError: It is that of another experiment; says what differs.
        """
        known = {name: value for name, value in self.state_dict().items() if not name.startswith("optimizer/")}
        for name, mine in known.items():
            if name not in state or state[name].shape != mine.shape:
                found = list(state[name].shape) if name in state else "none"
                raise ValueError(
                    f"`state` must hold '{name}' of shape {list(mine.shape)}, got {found}; it is of another experiment"
                )
        self.weighting.load_state_dict(nest(part("weighting", state), self.weighting.state_dict()))
        if self.average is not None:
            self.average.load_state_dict(part("gram", state))
        load_optimizer_state(self.optimizer, self.architecture, part("optimizer", state))
        self.num_steps = int(state["num_steps"])
        self.bad_steps_T, self._weights_T = state["bad_steps_T"].clone(), state["weights_T"].clone()

    def _backward(
        self, encoded: Encoded, x_BD: Tensor, losses: list[Tensor], mean_T: Tensor, active_T: Tensor
    ) -> tuple[Tensor, Tensor]:
        """Set the gradient of every dense parameter; return the one at the representation, and who took part in it."""
        if self.gram is not None and self.num_steps % self.gram.every == 0:
            if not self._last:
                return self._backward_by_task(encoded, x_BD, losses, mean_T, active_T)
            active_T = self._weigh_by_last_shared(losses, mean_T, active_T)
            if not active_T.any():
                return torch.zeros_like(x_BD), active_T
        if self.gram is None:
            self._weights_T = self.weighting.weights(mean_T, None, active_T)
        weights, tasks = self._weights_T.tolist(), active_T.nonzero()[:, 0].tolist()
        weighted_heads = self.weighting.weighted_heads
        parameters = [*self._shared, *self._own] if weighted_heads else self._shared
        # Tasks that are not active stay out of the sum: a weight of zero would not keep their NaN out of the gradient.
        loss = torch.stack([weights[task] * losses[task] for task in tasks]).sum()
        gradients = torch.autograd.grad(loss, [x_BD, *parameters], retain_graph=not weighted_heads, allow_unused=True)
        assign(parameters, gradients[1:])
        if not weighted_heads and self._own:
            own_loss = torch.stack([losses[task] for task in tasks]).sum()
            assign(self._own, torch.autograd.grad(own_loss, self._own, allow_unused=True))
        self._average([*self._shared, *self._own])
        return or_zero(gradients[0], x_BD), active_T

    def _backward_by_task(
        self, encoded: Encoded, x_BD: Tensor, losses: list[Tensor], mean_T: Tensor, active_T: Tensor
    ) -> tuple[Tensor, Tensor]:
        """One gradient per task, the Gram matrix from them, and the weighted sum: no second backward pass."""
        assert self.gram is not None
        inputs = [x_BD, *self._shared, *self._own]
        num_common = 1 + len(self._shared)
        by_task, active_T = gradients_by_task(losses, inputs, active_T)
        common = with_zeros(by_task, inputs[:num_common], len(losses))
        shared = [gradients[1:] for gradients in common]
        average_gradients(shared)
        gradients_TBD = torch.stack([gradients[0] for gradients in common])
        gram_TT = (
            exact_gram(self.embedding, encoded, gradients_TBD, shared)
            if self.gram.scope == "exact"
            else representation_gram(gradients_TBD)
        )
        weights_T = self._weigh(mean_T, gram_TT, active_T).to(gradients_TBD)
        assign(self._shared, [mix(weights_T, parts) for parts in zip(*shared, strict=True)])
        heads_T = weights_T if self.weighting.weighted_heads else torch.ones_like(weights_T)
        for place, parameter in enumerate(self._own, start=num_common):
            found = [heads_T[task] * own for task, g in by_task.items() if (own := g[place]) is not None]
            parameter.grad = found[0] if found else None  # one task alone reaches it
        self._average(self._own)
        return mix(weights_T, gradients_TBD), active_T

    def _weigh_by_last_shared(self, losses: list[Tensor], mean_T: Tensor, active_T: Tensor) -> Tensor:
        """Weigh by the gradients of the last shared layer, far from the tables; return who took part."""
        by_task, active_T = gradients_by_task(losses, self._last, active_T)
        gradients = with_zeros(by_task, self._last, len(losses))
        average_gradients(gradients)
        self._weigh(mean_T, dense_gram(gradients), active_T)
        return active_T

    def _weigh(self, mean_T: Tensor, gram_TT: Tensor, active_T: Tensor) -> Tensor:
        """Weights from a fresh measurement. A task without a row in this one batch keeps its last until the next."""
        assert self.average is not None
        weights_T = self.weighting.weights(mean_T, self.average.update(gram_TT, active_T), active_T)
        self._weights_T = torch.where(active_T, weights_T, self._weights_T)
        return self._weights_T

    @torch.no_grad()
    def _look_back(self, encoded: Encoded, targets: Targets, active_T: Tensor, random: list[Tensor]) -> None:
        """Show the balance what the step did to the losses of its own batch."""
        with random_again(self.device, random):
            outputs = self._outputs(self.embedding(encoded))
        losses, _ = self._losses(outputs, targets)
        mean_T = torch.stack(losses)
        average([mean_T])
        self.weighting.after_step(mean_T, active_T)

    def _apply(self, pooled_BD: Tensor, gradient_BD: Tensor) -> bool:
        """Move the dense parameters, and by one backward pass the tables; all stay if the gradient is not finite."""
        parameters = [*self._shared, *self._own]
        self._add_penalty(parameters)
        dense = gradient_norm([parameter.grad for parameter in parameters if parameter.grad is not None])
        finite = bool(total(torch.hypot(dense.to(gradient_BD), gradient_norm([gradient_BD]))).isfinite())
        if finite:
            if self.max_gradient_norm is not None:
                torch.nn.utils.clip_grads_with_norm_(parameters, self.max_gradient_norm, dense)
            self.optimizer.step()
            if pooled_BD.requires_grad:
                pooled_BD.backward(gradient_BD)
        self.optimizer.zero_grad(set_to_none=True)
        return finite

    def _add_penalty(self, parameters: Sequence[nn.Parameter]) -> None:
        """Add the gradient of the architecture's own regulariser, which no task's weight scales."""
        if (penalty := self.architecture.penalty()) is None:
            return
        gradients = torch.autograd.grad(penalty, parameters, allow_unused=True)
        for parameter, gradient in zip(parameters, gradients, strict=True):
            if gradient is not None:
                parameter.grad = gradient if parameter.grad is None else parameter.grad + gradient

    @staticmethod
    def _average(parameters: Sequence[nn.Parameter]) -> None:
        average([parameter.grad for parameter in parameters if parameter.grad is not None])

    def _losses(self, outputs: dict[str, Tensor], targets: Targets) -> tuple[list[Tensor], Tensor]:
        """Loss of each task over the rows of all processes, and which tasks have a labelled row."""
        terms = self.objective.terms(outputs, targets)
        counts = total(row_counts(terms)) / torch.distributed.get_world_size()
        return mean_losses(terms, counts)

    def _count_bad(self, labelled_T: Tensor, active_T: Tensor, outputs: dict[str, Tensor], targets: Targets) -> None:
        """Count, by task, the steps on end that it had to be left out of; one without its labels does not count."""
        bad_T = labelled_T & ~active_T
        self.bad_steps_T = torch.where(labelled_T, (self.bad_steps_T + 1) * bad_T, self.bad_steps_T)
        if int(self.bad_steps_T.max()) < self.max_bad_steps:
            return
        place = int(self.bad_steps_T.argmax())
        column = place % targets.labels_BT.shape[1]  # losses on clean rows follow those on the others
        task = self.weighting.task_names[column]
        finite_B = outputs[task].isfinite() & targets.labels_BT[:, column].isfinite()
        rows = (targets.mask_BT[:, column] & ~finite_B).nonzero().flatten()[:_ROWS_NAMED].tolist()
        raise DivergenceError(
            f"loss or gradient of task '{task}' was not finite for {self.max_bad_steps} steps on end, last at step "
            f"{self.num_steps}, {f'rows {rows} of the batch' if rows else 'in no single row alone'}; lower "
            "training.dense.learning_rate, or look for extreme values in the labels and numeric features of those "
            "rows (transforms: [log1p, standardize] tame features)",
            rows,
        )
