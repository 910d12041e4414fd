"""The gate is a softmax over experts."""

from __future__ import annotations

import torch

from ranker.layers import Gate

# Shapes: B = 7 rows, D = 5 inputs, E = 3 experts, H = 4 outputs of each


def test_weights_are_shares() -> None:
    weights_BE = Gate(5, 3).weights(10 * torch.randn(7, 5))
    assert weights_BE.shape == (7, 3)
    assert (weights_BE >= 0).all()
    torch.testing.assert_close(weights_BE.sum(dim=1), torch.ones(7))


def test_it_mixes_by_these_weights() -> None:
    gate, x_BD, experts_BEH = Gate(5, 3), torch.randn(7, 5), torch.randn(7, 3, 4)
    expected_BH = (gate.weights(x_BD)[:, :, None] * experts_BEH).sum(dim=1)
    torch.testing.assert_close(gate(x_BD, experts_BEH), expected_BH)


def test_it_has_no_bias() -> None:
    """At x = 0 all experts count the same, whatever was learned."""
    torch.testing.assert_close(Gate(5, 3).weights(torch.zeros(7, 5)), torch.full((7, 3), 1 / 3))


def test_it_works_under_autocast() -> None:
    gate, x_BD, experts_BEH = Gate(5, 3), torch.randn(7, 5), torch.randn(7, 3, 4)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        mixed_BH = gate(x_BD, experts_BEH)
    torch.testing.assert_close(mixed_BH.float(), gate(x_BD, experts_BEH), atol=0.05, rtol=0.05)
