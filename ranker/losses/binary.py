"""The loss of binary tasks."""

from __future__ import annotations

from torch import Tensor
from torch.nn import functional as F

# Shapes: B = rows


def binary_loss(logits_B: Tensor, labels_B: Tensor) -> Tensor:
    """Cross-entropy of each row, in nats: -y log p - (1 - y) log(1 - p) with p = sigmoid(logit).

    Args:
        logits_B: Raw outputs, any real value.
        labels_B: 0 or 1; values between are soft labels.

    Returns:
        Losses [B], non-negative.

    Example:
        >>> import torch
        >>> binary_loss(torch.tensor([0.0, 2.0]), torch.tensor([1.0, 0.0]))
        tensor([0.6931, 2.1269])
    """
    return F.binary_cross_entropy_with_logits(logits_B, labels_B, reduction="none")
