"""Losses of tasks in their sample spaces.

Example:
    >>> import torch
    >>> targets = Targets(torch.tensor([[1.0], [0.0]]), torch.tensor([[True], [False]]))
    >>> task_losses({"cvr": torch.zeros(2)}, *targets, kinds=("binary",))
    (tensor([0.6931]), tensor([True]))
"""

from ranker.losses.binary import binary_loss
from ranker.losses.masked import LOSSES, task_losses
from ranker.losses.regression import regression_loss
from ranker.losses.targets import Targets

__all__ = ["LOSSES", "Targets", "binary_loss", "regression_loss", "task_losses"]
