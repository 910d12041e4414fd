"""A ranking without a model: what is popular first, or the candidates as they came."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from pydantic import Field

from ranker.columns import LARGEST
from ranker.frozen_config import FrozenConfig
from serving.errors import NotReady
from serving.features import ITEM_VIEW, FeatureSource
from serving.schemas import Candidate, RankRequest

MODEL_VERSION = "fallback"
DEGRADED = "fallback_model"


class Fallback:
    """Ranks while no model can: by a figure that the store has of each item.

    An item without a figure counts as 0. Where no column is named, where the store lacks it or is away, the order of
    the candidates is kept: most callers send what they retrieved, best first.
    """

    class Config(FrozenConfig):
        """Options of `Fallback`."""

        enabled: bool = Field(False, description="Rank without a model while none is ready, in place of a 503.")
        popularity: str | None = Field(
            None, description="Numeric column of the store's item view, like num_clicks; null: the candidates' order."
        )

    def __init__(self, config: Config, features: FeatureSource) -> None:
        self._popularity = config.popularity
        self._features = features

    async def rank(self, request: RankRequest, request_id: str) -> dict[str, Any]:
        """The body of the answer, as `schemas.RankResponse` describes it.

        Without a model nobody knows which features a request may bring: they are taken as they are.
        """
        ids = [candidate.item_id if isinstance(candidate, Candidate) else candidate for candidate in request.candidates]
        scores = await self._scores(request.candidates, ids)
        order = sorted(range(len(ids)), key=lambda place: -scores[place])[: request.top_k]
        return {
            "request_id": request_id,
            "model_version": MODEL_VERSION,
            "policy_version": 0,
            "scene": request.scene,
            "experiment": None,
            "variant": None,
            "ranking": [{"item_id": ids[place], "score": scores[place], "outputs": {}} for place in order],
            "degraded": [DEGRADED],
            "missing": {"user": False, "items": 0},
        }

    async def _scores(self, candidates: Sequence[str | int | Candidate], ids: Sequence[str | int]) -> list[float]:
        column = self._popularity
        if column is None:
            return [0.0] * len(ids)
        try:
            rows = await self._features.rows(ITEM_VIEW, ids)
        except NotReady:  # the store has no such view
            rows = None
        figures = [row.values.get(column) if row else None for row in rows or [None] * len(ids)]
        for place, candidate in enumerate(candidates):
            if isinstance(candidate, Candidate) and column in candidate.features:
                figures[place] = candidate.features[column]
        return [_score(figure) for figure in figures]


def _score(figure: object) -> float:
    """A figure as a score that JSON can say; 0 for what is none."""
    return float(figure) if isinstance(figure, (int, float)) and abs(figure) <= LARGEST else 0.0
