"""A layer fused with its ReLU is that layer and ReLU, with or without oneDNN."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from ranker.onednn import linear_relu, stand_in
from ranker.torchscript import script

# Sizes are pairwise different: 64 rows, 24 inputs, 40 outputs.


class Fused(torch.nn.Module):
    """The layer in a module, as a bundle has it."""

    def forward(self, x_BI: Tensor, weight_OI: Tensor, bias_O: Tensor | None) -> Tensor:
        """ReLU of the layer, [B, O]."""
        return linear_relu(x_BI, weight_OI, bias_O)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("biased", [True, False])
def test_it_is_relu_of_the_layer(dtype: torch.dtype, biased: bool) -> None:
    x_BI, weight_OI = torch.randn(64, 24, dtype=dtype), torch.randn(40, 24, dtype=dtype)
    bias_O = torch.randn(40, dtype=dtype) if biased else None
    expected = F.linear(x_BI.double(), weight_OI.double(), None if bias_O is None else bias_O.double()).relu()
    tolerance = 1e-5 if dtype == torch.float32 else 0.1
    for found in (linear_relu, script(Fused()), lambda *arguments: stand_in(*arguments, "relu", [], "")):
        with torch.inference_mode():
            output_BO = found(x_BI, weight_OI, bias_O)
        assert output_BO.dtype == dtype
        torch.testing.assert_close(output_BO.double(), expected, rtol=0.01, atol=tolerance)
