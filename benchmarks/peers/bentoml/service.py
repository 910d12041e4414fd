"""BentoML as its documentation advises for one worker: a synchronous API, which runs in a thread beside the event loop.

One worker, one thread, no adaptive batching (a request is a batch of 500 rows already), no access log.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import bentoml

from benchmarks.peers.ranker import NaiveRanker
from benchmarks.peers.torch_scorer import TorchScorer

FOLDER = "RANK_PEERS_FOLDER"  # environment variable


@bentoml.service(workers=1, threads=1, traffic={"timeout": 120}, logging={"access": {"enabled": False}})
class Rank:
    """The only service."""

    def __init__(self) -> None:
        folder = Path(os.environ[FOLDER])
        self._ranker = NaiveRanker(folder, TorchScorer(folder))

    @bentoml.api(route="/rank")  # type: ignore[untyped-decorator]  # of this peer's own environment: untyped here
    def rank(self, user_id: str, context: dict[str, Any], candidates: list[Any], top_k: int) -> dict[str, Any]:
        """Rank."""
        return self._ranker.rank({"user_id": user_id, "context": context, "candidates": candidates, "top_k": top_k})
