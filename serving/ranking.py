"""A ranking from beginning to end: check the request, fetch features, score, fuse, take the best, put it into JSON."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from time import perf_counter
from typing import Any

import msgspec
import numpy as np
import orjson

from ranker.errors import DataError
from ranker.fusion import top_k
from serving.answers import Fused, Inputs, Job, answer
from serving.call import Call
from serving.candidates import wanted
from serving.decoding import decode
from serving.engine import Outputs
from serving.errors import NotReady, ServingError, TooLarge, Unscorable, problem
from serving.fallback import Fallback
from serving.features import FeatureSource, request_row
from serving.metrics import Metrics
from serving.models import Models
from serving.policies import PolicyCache
from serving.queue import Queue
from serving.request_log import RequestLog
from serving.sampling import Sample
from serving.schemas import BatchRequest, RankRequest
from serving.scoring_thread import ScoringThread
from serving.settings import Limits
from serving.stride import Stride
from serving.timeline import Timeline

# Shapes: L = candidates of one request, K = places of the answer

_REQUEST = msgspec.json.Decoder(RankRequest)
_BATCH = msgspec.json.Decoder(BatchRequest)


class Ranker:
    """Answers ranking requests.

    The event loop does what Python does: it checks the request, waits for the store, encodes, fuses and answers. One
    scoring thread, first in first out, runs the network, nearly all of it outside the lock of Python's interpreter. So
    one request is scored while others are read and answered, and no request overtakes another.
    """

    def __init__(
        self,
        models: Models,
        features: FeatureSource,
        policies: PolicyCache,
        fallback: Fallback | None,
        log: RequestLog,
        metrics: Metrics,
        limits: Limits,
        queue: Queue,
        thread: ScoringThread,
    ) -> None:
        self._models = models
        self._features = features
        self._policies = policies
        self._fallback = fallback
        self._log = log
        self._metrics = metrics
        self._sample = Sample(metrics)
        self._limits = limits
        self._queue = queue
        self._thread = thread
        self._stride = Stride()

    async def rank_body(self, body: bytes, call: Call) -> bytes:
        """The answer to the body of one request, as JSON.

        Raises:
            InvalidRequest: It is no ranking request; a value does not fit the live model; a candidate is there twice.
            TooLarge: Too many candidates.
            NotReady: No model is live, or the store was built for another one.
            Unscorable: The model gives no finite score.
            DeadlineExceeded: It is not there in time. What had not begun is not done any more.
        """
        call.deadline.check()
        try:
            async with asyncio.timeout(call.deadline.remaining()):
                await self._stride.turn()
                return await self._rank(self._decoded(body, call.timeline), call)
        except TimeoutError as exc:
            raise call.deadline.exceeded() from exc

    async def rank_batch(self, body: bytes, call: Call) -> bytes:
        """Answers to many requests, in their order; one that cannot be answered gets its problem details.

        They are ranked one after the other, so that other callers' requests come in between. Those that are not done
        when the deadline of the whole is over are left.
        """
        requests = decode(body, _BATCH).requests
        if len(requests) > self._limits.max_batch_requests:
            raise TooLarge(
                f"`requests` must be at most {self._limits.max_batch_requests}, got {len(requests)}; send several "
                "bodies, or raise RANKER_LIMITS__MAX_BATCH_REQUESTS"
            )
        with self._queue.hold(len(requests) - 1):
            answers = [await self._answer_or_problem(bytes(raw), call.member(n)) for n, raw in enumerate(requests)]
        return b'{"responses":[' + b",".join(answers) + b"]}"

    async def _answer_or_problem(self, body: bytes, call: Call) -> bytes:
        try:
            call.deadline.check()
            return await self.rank_body(body, call)
        except ServingError as exc:
            return msgspec.json.encode(problem(exc))

    async def _rank(self, request: RankRequest, call: Call) -> bytes:
        if self._fallback is not None and self._models.problem is not None:
            body = await self._fallback.rank(request, request.request_id or call.request_id)
            return self._told(request, body, call)
        engine = self._models.live()
        wishes = wanted(request, engine.plan)
        with call.timeline.step("features"):
            stored = await self._features.fetch(engine.plan, wishes, engine.item_side.snapshot)
        choice = self._policies.choose(request.scene, engine.fusion, engine.output_names)
        job = Job(request, request.request_id or call.request_id, engine, choice, wishes, stored)
        began = perf_counter()
        inputs = _encode(job, call.timeline)
        outputs = await self._score(job, inputs, call)
        fused = _fuse(job, inputs, outputs, call.timeline)
        encoded = self._told(request, answer(job, fused), call)
        self._sample.offer(job, fused)
        self._queue.ranked(began, perf_counter())
        return encoded

    async def _score(self, job: Job, inputs: Inputs, call: Call) -> Outputs:
        """Raw outputs, by the scoring thread."""
        submitted = perf_counter()

        def run() -> tuple[Outputs, float, float]:
            call.deadline.check()
            start = perf_counter()
            return job.engine.run(inputs.request, inputs.candidates.tensors), start, perf_counter() - start

        raw, start, seconds = await self._thread.run(run)
        call.timeline.add("queue", submitted, start - submitted)
        call.timeline.add("score", start, seconds)
        return raw

    def _decoded(self, body: bytes, timeline: Timeline) -> RankRequest:
        with timeline.step("decode"):
            request = decode(body, _REQUEST)
        if len(request.candidates) > self._limits.max_candidates:
            raise TooLarge(
                f"`candidates` must be at most {self._limits.max_candidates}, got {len(request.candidates)}; "
                "send fewer, split the request, or raise RANKER_LIMITS__MAX_CANDIDATES"
            )
        return request

    def _told(self, request: RankRequest, body: Mapping[str, Any], call: Call) -> bytes:
        """The answer as JSON, counted and noted."""
        with call.timeline.step("serialise"):
            encoded = orjson.dumps(body)
        self._metrics.ranked(len(request.candidates), body["missing"], body["degraded"])
        self._log.ranked(request, body)
        return encoded


def _encode(job: Job, timeline: Timeline) -> Inputs:
    row = request_row(job.engine.plan, job.wanted, job.stored)
    try:
        with timeline.step("encode"):
            request = job.engine.encode_request(row)
            return Inputs(row, request, job.engine.item_side.encode(job.wanted, job.stored.items))
    except (DataError, OverflowError) as exc:  # the request was checked, so this value came out of the store
        raise NotReady(f"feature store holds values that the model cannot read: {exc}") from exc


def _fuse(job: Job, inputs: Inputs, raw: Outputs, timeline: Timeline) -> Fused:
    with timeline.step("fuse"):
        outputs = job.engine.calibrate(raw)
        _refuse_infinite(outputs, job.wanted.item_ids)
        scores_L = job.choice.policy.score(outputs)
        order_K = top_k(scores_L, job.request.top_k)
    return Fused(outputs, scores_L, order_K, inputs.row, inputs.candidates)


def _refuse_infinite(outputs: Outputs, item_ids: Sequence[str | int]) -> None:
    for name, values_L in outputs.items():
        finite_L = np.isfinite(values_L)
        if not finite_L.all():
            item_id = item_ids[int(finite_L.argmin())]
            raise Unscorable(
                f"output '{name}' of candidate {item_id!r} is not finite: a number among its features, the user's or "
                "the context's is far outside what the model has seen; send null for it, or correct the feature store"
            )
