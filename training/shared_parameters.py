"""Which parameters the losses of an architecture share, and which train on one loss alone."""

from __future__ import annotations

import torch
from torch import nn

from ranker.losses import Objective, Targets, mean_losses
from ranker.models import Architecture, reaches


def shared_and_own(
    architecture: Architecture, objective: Objective, input_dim: int
) -> tuple[list[nn.Parameter], list[nn.Parameter]]:
    """The parameters that the losses of several tasks reach, and those of one task.

    Args:
        architecture: Whose parameters; it is asked for outputs on two rows of zeros.
        objective: What it is trained on.
        input_dim: Width of its input.
    """
    device = next(architecture.parameters()).device
    # Every label is known and there are rows of either kind, so that every term counts.
    ones_BT = torch.ones(2, len(architecture.task_names), device=device)
    probe = Targets(ones_BT, ones_BT > 0, clean_B=torch.tensor([False, True], device=device))
    training = architecture.training
    architecture.eval()  # two rows of zeros must not enter the statistics of a normalisation
    with torch.enable_grad():
        terms = objective.terms(architecture.training_outputs(torch.zeros(2, input_dim, device=device)), probe)
        losses, _ = mean_losses(terms)
        reached = reaches(dict(zip(terms, losses, strict=True)), architecture.named_parameters())
    architecture.train(training)
    shared = [parameter for name, parameter in architecture.named_parameters() if len(reached[name]) > 1]
    own = [parameter for name, parameter in architecture.named_parameters() if len(reached[name]) == 1]
    return shared, own
