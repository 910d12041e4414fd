"""Experts taken apart are the experts of the batch."""

from __future__ import annotations

from itertools import pairwise

import pytest
import torch
from torch import Tensor, nn

from ranker.serving_graph import serve
from ranker.serving_graph.trace import ATEN

# Sizes are pairwise different: 3 experts of 24, then 9, then 5, over 7 columns of the item and 4 of the request.
WIDTHS = (24, 9, 5)


class Experts(nn.Module):
    """Layers of experts as one batched product each, over one wide product."""

    def __init__(self, activated: bool) -> None:
        super().__init__()
        self.first, self.activated = nn.Linear(11, 3 * WIDTHS[0]), activated
        inputs = pairwise(WIDTHS)
        self.weights = nn.ParameterList(nn.Parameter(0.2 * torch.randn(3, *shape)) for shape in inputs)
        self.biases = nn.ParameterList(nn.Parameter(torch.randn(3, 1, width)) for width in WIDTHS[1:])

    def forward(self, x_BD: Tensor) -> dict[str, Tensor]:
        """An output [B] of all experts, and one of the last."""
        h_EBH = self.first(x_BD).unflatten(1, [3, -1]).transpose(0, 1)
        for weight_EIO, bias_E1O in zip(self.weights, self.biases, strict=True):
            h_EBH = torch.baddbmm(bias_E1O, torch.relu(h_EBH) if self.activated else h_EBH, weight_EIO)
        return {"all": h_EBH.transpose(0, 1).sum(dim=(1, 2)), "last": h_EBH[2].sum(dim=1)}


@pytest.mark.parametrize("activated", [True, False])
def test_no_batch_is_left_and_scores_are_the_same(activated: bool) -> None:
    architecture = Experts(activated).eval()
    request, item = [3, 8, 2, 0], [10, 4, 5, 7, 6, 1, 9]
    found = serve(architecture, request, item, "bf16")
    assert ATEN.baddbmm not in {node.target for node in found.network.graph.nodes}
    x_BD = torch.randn(64, 11)
    with torch.inference_mode():
        outputs = found.network(x_BD[:, item], found.request_products(x_BD[:, request]))
        for output_B, expected_B in zip(outputs, architecture(x_BD).values(), strict=True):
            torch.testing.assert_close(output_B, expected_B, rtol=0.02, atol=0.2)
