"""Fully connected layers."""

from __future__ import annotations

import pytest
import torch

from ranker.layers import MLP, build_activation


def test_it_is_linear_layers_and_activations() -> None:
    mlp, x_BD = MLP(5, (4, 3), activation="tanh"), torch.randn(7, 5)
    first, _, _, second, _, _ = mlp.layers
    torch.testing.assert_close(mlp(x_BD), torch.tanh(second(torch.tanh(first(x_BD)))))
    assert mlp.output_dim == 3


def test_without_widths_it_hands_its_input_on() -> None:
    mlp, x_BD = MLP(5, ()), torch.randn(7, 5)
    assert mlp.output_dim == 5
    torch.testing.assert_close(mlp(x_BD), x_BD)


def test_dropout_acts_in_training_only() -> None:
    mlp, x_BD = MLP(5, (64,), dropout=0.5), torch.randn(7, 5)
    assert not torch.equal(mlp(x_BD), mlp(x_BD))
    mlp.eval()
    assert torch.equal(mlp(x_BD), mlp(x_BD))


def test_an_unknown_activation_lists_the_valid_ones() -> None:
    with pytest.raises(ValueError, match=r"`activation` must be one of .*'relu'.*, got 'rely'"):
        build_activation("rely")
