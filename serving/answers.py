"""What a ranking answers: the places with their scores and outputs, and on demand why they are as they are."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from ranker.encoding import SideTensors
from ranker.schema import Schema
from serving.engine import Engine, Outputs
from serving.features import Stored
from serving.items import Candidates
from serving.policies import Choice
from serving.schemas import RankRequest
from serving.wanted import Wanted

# Shapes: L = candidates of one request, K = places of the answer


class Job(NamedTuple):
    """All that a ranking needs, decided before it begins: one engine and one policy from begin to end."""

    request: RankRequest
    request_id: str
    engine: Engine
    choice: Choice
    wanted: Wanted
    stored: Stored


class Inputs(NamedTuple):
    """What the model reads."""

    row: Mapping[str, Any]
    request: SideTensors
    candidates: Candidates


class Fused(NamedTuple):
    """What the answer is made of."""

    outputs: Outputs
    scores_L: npt.NDArray[np.float64]
    order_K: npt.NDArray[np.intp]
    request_row: Mapping[str, Any]
    candidates: Candidates


def answer(job: Job, fused: Fused) -> dict[str, Any]:
    """The body of the answer, as `schemas.RankResponse` describes it: plain values, ready for orjson."""
    plan = job.engine.plan
    return {
        "request_id": job.request_id,
        "model_version": job.engine.version,
        "policy_version": job.choice.version,
        "scene": job.request.scene,
        "experiment": None,
        "variant": None,
        "ranking": _ranking(job, fused),
        "degraded": [*job.stored.degraded, *job.choice.degraded],
        "missing": {
            "user": bool(plan.user) and job.stored.user is None,
            "items": fused.candidates.num_missing,
        },
    }


def _ranking(job: Job, fused: Fused) -> list[dict[str, Any]]:
    """The places of the answer, best first."""
    names = job.engine.output_names
    outputs_KT = np.stack([fused.outputs[name][fused.order_K] for name in names], axis=1).tolist()
    places = fused.order_K.tolist()
    ranking: list[dict[str, Any]] = [
        {"item_id": job.wanted.item_ids[place], "score": score, "outputs": dict(zip(names, values, strict=True))}
        for place, score, values in zip(places, fused.scores_L[fused.order_K].tolist(), outputs_KT, strict=True)
    ]
    if job.request.explain:
        for entry, place in zip(ranking, places, strict=True):
            entry["explain"] = _explanation(job, fused, place)
    return ranking


def _explanation(job: Job, fused: Fused, place: int) -> dict[str, Any]:
    overridden = job.wanted.overrides.get(place, {})
    return {
        "terms": [
            {
                "output": term.output,
                "weight": term.weight,
                "value": (value := float(fused.outputs[term.output][place])),
                "contribution": term.weight * value,
            }
            for term in job.choice.policy.terms
        ],
        "missing": missing_features(job.engine.schema, fused, place),
        "overridden": [f.name for f in job.engine.schema.side_features("item") if f.column in overridden],
    }


def missing_features(schema: Schema, fused: Fused, place: int) -> list[str]:
    """Features of any side that had no value when this candidate was scored."""
    absent = [f.name for f in schema.side_features("request") if fused.request_row[f.column] is None]
    lacking = fused.candidates.lacking(place)
    return absent + [f.name for f in schema.side_features("item") if f.column in lacking]
