"""Layers that keep themselves out of autocast."""

from __future__ import annotations

import torch

from ranker.layers import Experts, FullLinear, Gate, Tower

BF16 = torch.bfloat16


def test_a_full_layer_computes_as_without_autocast() -> None:
    layer, x_BI = FullLinear(5, 3), torch.randn(7, 5)
    expected = layer(x_BI)
    with torch.autocast("cpu", BF16):
        assert torch.equal(layer(x_BI), expected)
        assert layer(x_BI.bfloat16()).dtype == torch.float32
    assert layer.double()(x_BI.double()).dtype == torch.float64


def test_gates_and_logits_are_full_while_experts_are_not() -> None:
    experts, gate, tower = Experts(3, 5, (4, 6)), Gate(5, 3), Tower(6, (8,))
    x_BD = torch.randn(7, 5)
    expected = gate.weights(x_BD)
    with torch.autocast("cpu", BF16):
        assert experts(x_BD).dtype == BF16
        assert torch.equal(gate.weights(x_BD), expected)
        mixed_BH = gate(x_BD, experts(x_BD))
        assert mixed_BH.dtype == BF16
        assert tower(mixed_BH).dtype == torch.float32
