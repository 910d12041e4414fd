"""Whether a server ranks as the plain network does: what is compared must do the same."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import orjson

from benchmarks.peers.ranker import NaiveRanker
from benchmarks.peers.torch_scorer import TorchScorer
from benchmarks.support.closed_loop import exchange

TOP = 20
MIN_OVERLAP, MAX_DIFFERENCE = 0.95, 0.02  # room for bfloat16


class Agreement:
    """Rankings of the plain network, in float32 in this process, and servers held against them.

    Args:
        folder: What the peers read.
        bodies: Of requests, by kind.
    """

    def __init__(self, folder: Path, bodies: Mapping[str, Sequence[bytes]]) -> None:
        ranker = NaiveRanker(folder, TorchScorer(folder))
        self._expected = {
            kind: [(body, ranker.rank(orjson.loads(body))["ranking"]) for body in of_kind]
            for kind, of_kind in bodies.items()
        }

    def check(self, name: str, kind: str, port: int, path: str) -> dict[str, float]:
        """Ask a server for the same rankings.

        Returns:
            Share of the best `TOP` that both have, mean over requests, and the largest difference of a score.

        Raises:
            RuntimeError: They differ by more than the precision of bfloat16 explains.
        """
        found = [
            compare(ranking, orjson.loads(exchange(port, path, body))["ranking"])
            for body, ranking in self._expected[kind]
        ]
        overlap = sum(one for one, _ in found) / len(found)
        difference = max(other for _, other in found)
        if overlap < MIN_OVERLAP or difference > MAX_DIFFERENCE:
            raise RuntimeError(
                f"{name} ranks otherwise than the plain network: {overlap:.3f} of the best {TOP} are the same, scores "
                f"differ by up to {difference:.3g}; build the world anew (--anew), or find out why"
            )
        return {"overlap": overlap, "largest_difference": difference}


def compare(one: Sequence[dict[str, Any]], other: Sequence[dict[str, Any]]) -> tuple[float, float]:
    """Share of the best `TOP` places that two rankings have in common, and the largest difference of a score.

    Raises:
        RuntimeError: The rankings have no item in common.
    """
    scores, others = ({entry["item_id"]: entry["score"] for entry in ranking} for ranking in (one, other))
    best, others_best = ({entry["item_id"] for entry in ranking[:TOP]} for ranking in (one, other))
    if not (common := scores.keys() & others.keys()):
        raise RuntimeError("two rankings of the same candidates have no item in common")
    return len(best & others_best) / len(best), max(abs(scores[item] - others[item]) for item in common)
