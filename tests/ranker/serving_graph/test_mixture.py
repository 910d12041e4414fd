"""Gates that weigh experts at once mix as softmax and a sum do."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from ranker.serving_graph.mixture import mix, mix_for_compilers, mix_low

# Shapes: B = 64 rows, N = 5 experts of H = 24 outputs, T = 2 gates

Mix = Callable[[Tensor, Tensor | None, Tensor], Tensor]

LOGITS = ((0, 2, 4), (1, 2, 3, 4))  # experts that each gate sees
PLACES = torch.tensor([0, 7, 1, 7, 2, 7, 3, 4, 5, 6])  # 7: not seen


@pytest.mark.parametrize("mixing", [mix, mix_for_compilers])
def test_gates_see_their_own_experts(mixing: Mix) -> None:
    logits_BG, experts_BNH = torch.randn(64, 7), torch.randn(64, 5, 24)
    mixed_BTH = mixing(logits_BG, PLACES, experts_BNH)
    for gate, (seen, columns) in enumerate(zip(LOGITS, (slice(0, 3), slice(3, 7)), strict=True)):
        shares_BE = torch.softmax(logits_BG[:, columns], dim=1)
        expected_BH = (shares_BE.unsqueeze(2) * experts_BNH[:, seen]).sum(dim=1)
        torch.testing.assert_close(mixed_BTH[:, gate], expected_BH)


@pytest.mark.parametrize("mixing", [mix, mix_for_compilers])
def test_gates_may_all_see_all_experts(mixing: Mix) -> None:
    logits_BG, experts_BNH = torch.randn(64, 10), torch.randn(64, 5, 24)
    expected_BTH = mixing(logits_BG, torch.arange(10), experts_BNH)
    torch.testing.assert_close(mixing(logits_BG, None, experts_BNH), expected_BTH)


@pytest.mark.parametrize("mixing", [mix_low, mix_for_compilers])
@pytest.mark.parametrize("places", [PLACES, None], ids=["some", "all"])
def test_of_low_experts_only_the_result_is_rounded(mixing: Mix, places: Tensor | None) -> None:
    logits_BG = torch.randn(64, 10 if places is None else 7)
    experts_BNH = torch.randn(64, 5, 24).bfloat16()
    exact_BTH = mix(logits_BG, places, experts_BNH.float())
    mixed_BTH = mixing(logits_BG, places, experts_BNH)
    assert mixed_BTH.dtype == torch.bfloat16
    torch.testing.assert_close(mixed_BTH.float(), exact_BTH, rtol=2**-8, atol=2e-4)
