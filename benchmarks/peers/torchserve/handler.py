"""What TorchServe's worker calls."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from ts.torch_handler.base_handler import BaseHandler

from benchmarks.peers.ranker import NaiveRanker
from benchmarks.peers.torch_scorer import TorchScorer


class RankHandler(BaseHandler):  # type: ignore[misc]  # of this peer's own environment: untyped here
    """Ranks. TorchServe has decoded the JSON, and encodes the answer."""

    def initialize(self, context: Any) -> None:
        """Load, once per worker; the archive has the folder's name."""
        archive = Path(context.system_properties["model_dir"])
        folder = Path((archive / "folder.txt").read_text(encoding="utf-8"))
        self._ranker = NaiveRanker(folder, TorchScorer(folder))
        self.initialized = True

    def handle(self, data: list[dict[str, Any]], context: Any) -> list[dict[str, Any]]:
        """Rank every request of a batch, which has one."""
        del context
        return [self._ranker.rank(request["body"]) for request in data]
