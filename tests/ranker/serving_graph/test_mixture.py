"""Gates that weigh experts at once mix as softmax and a sum do."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from ranker.serving_graph.mixture import mix, mix_for_compilers, mix_low, seen_weights

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


@pytest.mark.parametrize("places", [PLACES, None], ids=["some", "all"])
def test_low_experts_are_summed_up_in_full(places: Tensor | None) -> None:
    seen = [[place for place in gate if places is None or places[place] < 7] for gate in (range(5), range(5, 10))]
    logits_BG, experts_BNH = torch.randn(64, sum(map(len, seen))), torch.randn(64, 5, 24).bfloat16()
    weighing = seen_weights(seen, 5)
    mixed_BTH = mix_low(logits_BG, places, experts_BNH, *weighing)
    assert mixed_BTH.dtype == torch.bfloat16
    exact_BTH = mix(logits_BG, places, experts_BNH.float())
    size_BTH = mix(logits_BG, places, experts_BNH.float().abs())
    tolerance_BTH = 2**-8 * exact_BTH.abs() + 2**-15 * size_BTH  # rounding of the result, and hardly of shares
    assert ((mixed_BTH - exact_BTH).abs() <= tolerance_BTH).all()
    compiled_BTH = mix_for_compilers(logits_BG, places, experts_BNH, *weighing)
    assert compiled_BTH.dtype == torch.bfloat16
    assert ((compiled_BTH - exact_BTH).abs() <= tolerance_BTH).all()
