"""What a gate makes of experts: their sum, weighted by the softmax of its logits; all gates of a level at once."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn import functional as F

# Shapes: B = rows, T = gates, N = experts that any of them weighs, H = width of an expert's output
# G = logits of all gates side by side, M = T * N
# S = pairs of a gate and an expert that it sees, U = 2 * S: two weights of each


def mix(logits_BG: Tensor, places_M: Tensor | None, experts_BNH: Tensor) -> Tensor:
    """Each gate's mixture of experts, [B, T, H].

    Args:
        logits_BG: Logits of all gates.
        places_M: Which of them each gate has for each expert; G: it does not see it. None: every gate sees every
            expert, in order.
        experts_BNH: Outputs of all experts.
    """
    shares_TNB = shares(logits_BG, places_M, experts_BNH.size(1))
    return torch.bmm(shares_TNB.permute(2, 0, 1).contiguous(), experts_BNH)


def mix_low(
    logits_BG: Tensor,
    places_M: Tensor | None,
    experts_BNH: Tensor,
    seen_S: Tensor | None,
    experts_U: Tensor,
    starts_T: Tensor,
) -> Tensor:
    """The same of experts in bfloat16, in bfloat16; shares are float32, and so is what is summed up.

    A sum of weighted rows is what a lookup of bags is: it reads bfloat16 as it lies, where products read a copy, and
    only the experts that a gate sees. The weights of its rows are bfloat16 as well, so each share enters as two of
    them, itself and what rounding took: without the second the best candidates of trained models change places.

    Args:
        logits_BG: See `mix`.
        places_M: See `mix`.
        experts_BNH: See `mix`.
        seen_S: The pairs among all T * N, gate by gate; None: every gate sees every expert.
        experts_U: The expert that each weight is of: both of the first pair, both of the second, and so on.
        starts_T: Where each gate's begin among these.
    """
    num_rows, num_experts, width = experts_BNH.size()
    shares_SB = shares(logits_BG, places_M, num_experts).flatten(0, 1)
    if seen_S is not None:
        shares_SB = shares_SB.index_select(0, seen_S)
    rounded_SB = shares_SB.to(torch.bfloat16)
    taken_SB = (shares_SB - rounded_SB).to(torch.bfloat16)
    weights_UB = torch.stack([rounded_SB, taken_SB], 1).flatten(0, 1)
    rows_B1 = torch.arange(num_rows).unsqueeze(1)
    mixed: Tensor = F.embedding_bag(
        (rows_B1 * num_experts + experts_U).flatten(),
        experts_BNH.flatten(0, 1),
        (rows_B1 * len(experts_U) + starts_T).flatten(),
        mode="sum",
        per_sample_weights=weights_UB.t().flatten(),
    )
    return mixed.view(num_rows, len(starts_T), width)


def seen_weights(seen: Sequence[Sequence[int]], num_experts: int) -> tuple[Tensor | None, Tensor, Tensor]:
    """`seen_S`, `experts_U` and `starts_T` of `mix_low`.

    Args:
        seen: Of each gate, the experts that it sees, as places among all T * N.
        num_experts: N.
    """
    pairs = [place for of_gate in seen for place in of_gate]
    pairs_S = None if pairs == [*range(len(seen) * num_experts)] else torch.tensor(pairs)
    starts_T = torch.tensor([2 * sum(map(len, seen[:gate])) for gate in range(len(seen))])
    return pairs_S, (torch.tensor(pairs) % num_experts).repeat_interleave(2), starts_T


def mix_for_compilers(logits_BG: Tensor, places_M: Tensor | None, experts_BNH: Tensor, *_seen: Tensor | None) -> Tensor:
    """The same as `mix` or `mix_low`, as compilers make one loop of it.

    It goes by element, and divides by the sum of softmax at its end.
    """
    num_experts = experts_BNH.size(1)
    if places_M is None:
        logits = logits_BG.split(num_experts, 1)
    else:
        padded = F.pad(logits_BG, [0, 1], value=-1e30)
        logits = [padded.index_select(1, places_N) for places_N in places_M.split(num_experts)]
    mixed = []
    for logits_BN in logits:
        weights_BN1 = torch.exp(logits_BN - logits_BN.amax(1, keepdim=True)).unsqueeze(2)
        mixed.append((weights_BN1 * experts_BNH).sum(1) / weights_BN1.sum(1))
    return torch.stack(mixed, 1).to(experts_BNH.dtype)


def shares(logits_BG: Tensor, places_M: Tensor | None, num_experts: int) -> Tensor:
    """Each gate's shares of all experts, which sum to one, [T, N, B]; arguments as those of `mix`."""
    # Along the rows: processors take many rows at a time, not a few experts.
    if places_M is None:
        logits_MB = logits_BG.t().contiguous()
    else:
        padded = F.pad(logits_BG.t(), [0, 0, 0, 1], value=-1e30)  # a logit whose share is 0
        logits_MB = padded.index_select(0, places_M)
    return torch.softmax(logits_MB.unflatten(0, [-1, num_experts]), 1)
