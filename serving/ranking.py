"""A ranking from beginning to end: check the request, fetch features, score, fuse, take the best, put it into JSON."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from concurrent.futures import Executor
from time import perf_counter
from typing import Any, NamedTuple

import msgspec
import numpy as np
import numpy.typing as npt
import orjson

from ranker.errors import DataError
from ranker.fusion import top_k
from ranker.schema import Schema
from serving.decoding import decode
from serving.engine import Engine, Outputs
from serving.errors import FieldError, InvalidRequest, NotReady, ServingError, TooLarge, Unscorable, problem
from serving.features import (
    Columns,
    FeaturePlan,
    FeatureSource,
    Stored,
    Wanted,
    item_columns,
    num_missing_items,
    request_columns,
)
from serving.models import Models
from serving.policies import Choice, PolicyCache
from serving.request_log import RequestLog
from serving.schemas import BatchRequest, Candidate, RankRequest
from serving.settings import Limits
from serving.telemetry import Metrics
from serving.values import check

# Shapes: L = candidates of one request, K = places of the answer

_REQUEST = msgspec.json.Decoder(RankRequest)
_BATCH = msgspec.json.Decoder(BatchRequest)


class _Job(NamedTuple):
    """All that the scoring thread needs, decided before it is asked: one engine and one policy from begin to end."""

    request: RankRequest
    request_id: str
    engine: Engine
    choice: Choice
    wanted: Wanted
    stored: Stored


class _Fused(NamedTuple):
    """What the answer is made of."""

    outputs: Outputs
    scores_L: npt.NDArray[np.float64]
    order_K: npt.NDArray[np.intp]
    request_columns: Columns
    item_columns: Columns


class Ranker:
    """Answers ranking requests.

    The event loop checks the request and waits for the store; one scoring thread, first in first out, does the rest, so
    that neither can hold the other up and no request overtakes another.
    """

    def __init__(
        self,
        models: Models,
        features: FeatureSource,
        policies: PolicyCache,
        log: RequestLog,
        metrics: Metrics,
        limits: Limits,
        thread: Executor,
    ) -> None:
        self._models = models
        self._features = features
        self._policies = policies
        self._log = log
        self._metrics = metrics
        self._limits = limits
        self._thread = thread

    async def rank_body(self, body: bytes, request_id: str) -> bytes:
        """The answer to the body of one request; see `rank`."""
        return await self.rank(decode(body, _REQUEST), request_id)

    async def rank_batch(self, body: bytes, request_id: str) -> bytes:
        """Answers to many requests, in their order; one that cannot be answered gets its problem details.

        They are ranked one after the other, so that other callers' requests come in between.
        """
        requests = decode(body, _BATCH).requests
        if len(requests) > self._limits.max_batch_requests:
            raise TooLarge(
                f"`requests` must be at most {self._limits.max_batch_requests}, got {len(requests)}; send several "
                "bodies, or raise RANKER_LIMITS__MAX_BATCH_REQUESTS"
            )
        answers = [await self._answer_or_problem(bytes(raw), f"{request_id}.{n}") for n, raw in enumerate(requests)]
        return b'{"responses":[' + b",".join(answers) + b"]}"

    async def _answer_or_problem(self, body: bytes, request_id: str) -> bytes:
        try:
            return await self.rank_body(body, request_id)
        except ServingError as exc:
            return msgspec.json.encode(problem(exc))

    async def rank(self, request: RankRequest, request_id: str) -> bytes:
        """The answer to one request, as JSON.

        Raises:
            InvalidRequest: A value does not fit the live model; a candidate is there twice.
            TooLarge: Too many candidates.
            NotReady: No model is live, or the store was built for another one.
            Unscorable: The model gives no finite score.
        """
        self._check_size(request)
        engine = self._models.live()
        wanted = _wanted(request, engine.plan)
        start = perf_counter()
        stored = await self._features.fetch(engine.plan, wanted)
        self._metrics.stages(features=perf_counter() - start)
        choice = self._policies.choose(request.scene, engine.fusion, engine.output_names)
        job = _Job(request, request.request_id or request_id, engine, choice, wanted, stored)
        return await asyncio.get_running_loop().run_in_executor(self._thread, self._answer, job)

    def _check_size(self, request: RankRequest) -> None:
        if len(request.candidates) > self._limits.max_candidates:
            raise TooLarge(
                f"`candidates` must be at most {self._limits.max_candidates}, got {len(request.candidates)}; "
                "send fewer, split the request, or raise RANKER_LIMITS__MAX_CANDIDATES"
            )

    def _answer(self, job: _Job) -> bytes:
        """Runs in the scoring thread."""
        fused = self._fuse(job)
        start = perf_counter()
        plan, degraded = job.engine.plan, (*job.stored.degraded, *job.choice.degraded)
        missing_user = bool(plan.user) and job.stored.user is None
        missing_items = num_missing_items(plan, job.wanted, job.stored)
        body = {
            "request_id": job.request_id,
            "model_version": job.engine.version,
            "policy_version": job.choice.version,
            "scene": job.request.scene,
            "experiment": None,
            "variant": None,
            "ranking": _ranking(job, fused),
            "degraded": degraded,
            "missing": {"user": missing_user, "items": missing_items},
        }
        answer = orjson.dumps(body)
        self._metrics.stages(serialise=perf_counter() - start)
        self._metrics.ranked(
            len(job.wanted.item_ids), missing_user=missing_user, missing_items=missing_items, degraded=degraded
        )
        self._log.ranked(job.request, body)
        return answer

    def _fuse(self, job: _Job) -> _Fused:
        engine, plan = job.engine, job.engine.plan
        request = request_columns(plan, job.wanted, job.stored)
        items = item_columns(plan, job.wanted, job.stored)
        try:
            scored = engine.score(request, items)
        except (DataError, OverflowError) as exc:  # the request was checked, so this value came out of the store
            raise NotReady(f"feature store holds values that the model cannot read: {exc}") from exc
        start = perf_counter()
        _refuse_infinite(scored.outputs, job.wanted.item_ids)
        scores_L = job.choice.policy.score(scored.outputs)
        order_K = top_k(scores_L, job.request.top_k)
        self._metrics.stages(encode=scored.encode_seconds, score=scored.score_seconds, fuse=perf_counter() - start)
        return _Fused(scored.outputs, scores_L, order_K, request, items)


def _wanted(request: RankRequest, plan: FeaturePlan) -> Wanted:
    """Ids and values of a request, checked against what the live model reads."""
    item_ids: list[str | int] = []
    overrides: dict[int, Mapping[str, Any]] = {}
    faults = list(check(request.context, plan.context, "context"))
    for place, candidate in enumerate(request.candidates):
        if isinstance(candidate, Candidate):
            item_ids.append(candidate.item_id)
            if candidate.features:
                overrides[place] = candidate.features
                faults += check(candidate.features, plan.item, f"candidates[{place}].features")
        else:
            item_ids.append(candidate)
    if repeated := _first_repeated(item_ids):
        faults.append(repeated)
    if faults:
        raise InvalidRequest(*faults[:100])
    return Wanted(request.user_id, item_ids, request.context, overrides)


def _first_repeated(item_ids: Sequence[str | int]) -> FieldError | None:
    """The first candidate that was there before; 5 and "5" are one item."""
    texts = [str(item_id) for item_id in item_ids]
    if len(set(texts)) == len(texts):
        return None
    seen: set[str] = set()
    for place, text in enumerate(texts):
        if text in seen:
            message = f"repeats item '{text}'; each item must be there once (5 and \"5\" are one)"
            return FieldError(f"candidates[{place}]", message, "remove the repetition", item_ids[place])
        seen.add(text)
    return None


def _refuse_infinite(outputs: Outputs, item_ids: Sequence[str | int]) -> None:
    for name, values_L in outputs.items():
        finite_L = np.isfinite(values_L)
        if not finite_L.all():
            item_id = item_ids[int(finite_L.argmin())]
            raise Unscorable(
                f"output '{name}' of candidate {item_id!r} is not finite: a number among its features, the user's or "
                "the context's is far outside what the model has seen; send null for it, or correct the feature store"
            )


def _ranking(job: _Job, fused: _Fused) -> list[dict[str, Any]]:
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


def _explanation(job: _Job, fused: _Fused, place: int) -> dict[str, Any]:
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
        "missing": _missing(job.engine.schema, fused, place),
        "overridden": [f.name for f in job.engine.schema.side_features("item") if f.column in overridden],
    }


def _missing(schema: Schema, fused: _Fused, place: int) -> list[str]:
    """Features of any side that had no value when this candidate was scored."""
    absent = [f.name for f in schema.side_features("request") if fused.request_columns[f.column][0] is None]
    return absent + [f.name for f in schema.side_features("item") if fused.item_columns[f.column][place] is None]
