"""Products of few columns are computed across: the same numbers, and every row's its own."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from ranker.layers import Linear, full_precision
from ranker.models import PLE
from ranker.serving_graph import for_compilers, serve
from ranker.serving_graph.across import linear_across
from ranker.serving_graph.split import split_linear
from ranker.serving_graph.trace import ATEN

# Shapes: B = 64 rows or a multiple, D = 11 columns, O = columns of a narrow product

REQUEST, ITEM = [3, 8, 2, 0], [10, 4, 5, 7, 6, 1, 9]


class Narrow(nn.Module):
    """Narrow products in full precision: of the representation, and of a hidden layer."""

    def __init__(self, width: int, bias: bool) -> None:
        super().__init__()
        self.hidden, self.first, self.second = nn.Linear(11, 24), Linear(11, width, bias), Linear(24, width, bias)

    def forward(self, x_BD: Tensor) -> dict[str, Tensor]:
        """Two outputs [B]."""
        h_BH = torch.relu(self.hidden(x_BD))
        with torch.autocast("cpu", enabled=False):
            return {"first": self.first(x_BD)[:, 0], "sum": self.second(full_precision(h_BH)).sum(dim=1)}


@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("num_requests", [1, 64])
@pytest.mark.parametrize("width", [1, 3, 8])
def test_narrow_products_give_what_they_gave(width: int, num_requests: int, bias: bool) -> None:
    architecture = Narrow(width, bias).eval()
    found = serve(architecture, REQUEST, ITEM, "bf16")
    assert sum(node.target is linear_across for node in found.network.graph.nodes) == 2
    x_BD = torch.randn(64, 11)
    x_BD[:, REQUEST] = x_BD[:num_requests, REQUEST]
    with torch.inference_mode():
        read = x_BD[:, ITEM], found.request_products(x_BD[:num_requests, REQUEST])
        for network in (found.network, for_compilers(found.network)):
            for output_B, expected_B in zip(network(*read), architecture(x_BD).values(), strict=True):
                torch.testing.assert_close(output_B, expected_B, rtol=0.02, atol=0.05)


def test_wider_products_stay_as_they_are() -> None:
    network = serve(Narrow(9, True).eval(), REQUEST, ITEM, "bf16").network
    targets = [node.target for node in network.graph.nodes]
    assert linear_across not in targets
    assert {split_linear, ATEN.linear} <= set(targets)


def test_compilers_get_products_row_by_row() -> None:
    network = for_compilers(serve(Narrow(3, True).eval(), REQUEST, ITEM, "bf16").network)
    assert linear_across not in {node.target for node in network.graph.nodes}


@pytest.mark.parametrize("num_columns", range(1, 9))
@pytest.mark.parametrize("num_inputs", [16, 77, 256])
def test_a_row_is_computed_alike_wherever_it_is(num_inputs: int, num_columns: int) -> None:
    weight_OI, bias_1O, row_I = (
        torch.randn(num_columns, num_inputs),
        torch.randn(1, num_columns),
        torch.randn(num_inputs),
    )
    found = set()
    for num_rows in (64, 192, 512, 1280):
        x_BI = torch.randn(num_rows, num_inputs)
        places = torch.randperm(num_rows)[:20]
        x_BI[places] = row_I
        found |= {tuple(row) for row in linear_across(x_BI, weight_OI, bias_1O)[places].tolist()}
    assert len(found) == 1


def test_logits_of_several_gates_lie_one_below_the_other() -> None:
    config = PLE.Config(expert_dims=((24,), (9,)))
    network = serve(config.build(11, ("ctr", "cvr")).eval(), REQUEST, ITEM, "bf16").network
    (logits,) = (node for node in network.graph.nodes if node.target is ATEN.cat and node.args[1:] == (0,))
    assert all(part.target is ATEN.transpose for part in logits.args[0])
