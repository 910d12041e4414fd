"""Gates that weigh experts of a level at once mix as each does by itself."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from ranker.layers import Linear
from ranker.models import MMoE
from ranker.serving_graph import serve
from ranker.serving_graph.mixture import mix, mix_low

# Shapes: B = 64 rows, D = 11 columns, E = 3 experts of H = 8 outputs


class Levels(nn.Module):
    """Two gates that share experts, and a third whose logits are what the first one mixed."""

    def __init__(self) -> None:
        super().__init__()
        self.experts = nn.ModuleList(Linear(11, 24) for _ in range(2))
        self.gates = nn.ModuleList([Linear(11, 3), Linear(11, 3), Linear(8, 3)])

    def forward(self, x_BD: Tensor) -> dict[str, Tensor]:
        """Three outputs [B]."""
        own_BEH, shared_BEH = (expert(x_BD).relu().unflatten(1, [3, -1]) for expert in self.experts)
        both_BEH = own_BEH + 2 * shared_BEH
        first_BH = self.mixed(self.gates[0](x_BD), own_BEH)
        second_BH = self.mixed(self.gates[1](x_BD), both_BEH)
        third_BH = self.mixed(self.gates[2](first_BH), own_BEH)
        return {"a": first_BH.sum(dim=1), "b": second_BH.sum(dim=1), "c": third_BH.sum(dim=1)}

    @staticmethod
    def mixed(logits_BE: Tensor, experts_BEH: Tensor) -> Tensor:
        """One gate's mixture, [B, H]."""
        return torch.bmm(torch.softmax(logits_BE, dim=-1).unsqueeze(1), experts_BEH)[:, 0]


def test_a_gate_that_reads_a_mixture_comes_after_it() -> None:
    architecture = Levels().eval()
    found = serve(architecture, [3, 8, 2, 0], [10, 4, 5, 7, 6, 1, 9])
    x_BD = torch.randn(64, 11)
    with torch.inference_mode():
        outputs = found.network(x_BD[:, [10, 4, 5, 7, 6, 1, 9]], found.request_products(x_BD[:, [3, 8, 2, 0]]))
        for output_B, expected_B in zip(outputs, architecture(x_BD).values(), strict=True):
            torch.testing.assert_close(output_B, expected_B, rtol=0, atol=1e-5)
    assert sum(node.target is mix for node in found.network.graph.nodes) == 3


def test_logits_that_lie_side_by_side_are_read_there() -> None:
    architecture = MMoE.Config(num_experts=3, expert_dims=(9, 8), tower_dims=(6,)).build(11, ("a", "b", "c")).eval()
    network = serve(architecture, [3, 8, 2, 0], [10, 4, 5, 7, 6, 1, 9], "bf16").network
    targets = [node.target for node in network.graph.nodes]
    assert mix_low in targets
    assert torch.ops.aten.cat not in targets
