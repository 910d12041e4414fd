"""The loss of regression tasks."""

from __future__ import annotations

from torch import Tensor

# Shapes: B = rows


def regression_loss(predictions_B: Tensor, labels_B: Tensor) -> Tensor:
    """Squared error of each row: (prediction - y)^2, without the factor 1/2.

    Args:
        predictions_B: Raw outputs, in the label's unit.
        labels_B: Any finite number.

    Returns:
        Losses [B], in the label's unit squared.

    Example:
        >>> import torch
        >>> regression_loss(torch.tensor([1.0, 2.0]), torch.tensor([4.0, 2.0]))
        tensor([9., 0.])
    """
    return (predictions_B - labels_B).square()
