"""The tower gives one logit per row."""

from __future__ import annotations

import pytest
import torch

from ranker.layers import Tower


@pytest.mark.parametrize("num_rows", [0, 1, 7])
def test_one_logit_per_row(num_rows: int) -> None:
    assert Tower(5, (4, 3))(torch.randn(num_rows, 5)).shape == (num_rows,)


def test_without_hidden_layers_it_is_linear() -> None:
    tower, x_BH = Tower(5, ()), torch.randn(7, 5)
    torch.testing.assert_close(tower(x_BH), x_BH @ tower.output.weight[0] + tower.output.bias)


def test_the_output_is_raw() -> None:
    """No activation after the last layer: logits take either sign."""
    logits_B = Tower(5, (8,))(100 * torch.randn(200, 5))
    assert (logits_B < 0).any()
    assert (logits_B > 0).any()
