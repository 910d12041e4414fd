"""Cross-entropy, also where the logit is extreme."""

from __future__ import annotations

import torch

from ranker.losses import binary_loss


def test_it_is_the_cross_entropy_of_the_sigmoid() -> None:
    logits_B, labels_B = (
        torch.randn(7, dtype=torch.float64),
        torch.tensor([0, 1, 1, 0, 1, 0, 0.25], dtype=torch.float64),
    )
    p_B = torch.sigmoid(logits_B)
    torch.testing.assert_close(
        binary_loss(logits_B, labels_B), -(labels_B * p_B.log() + (1 - labels_B) * (-p_B).log1p())
    )


def test_extreme_logits_neither_overflow_nor_vanish() -> None:
    logits_B = torch.tensor([200.0, -200.0, 200.0])
    torch.testing.assert_close(binary_loss(logits_B, torch.tensor([0.0, 1.0, 1.0])), torch.tensor([200.0, 200.0, 0.0]))
