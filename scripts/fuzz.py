"""Sends a running server whatever its OpenAPI document allows, and bodies that it does not: `make fuzz`.

    python -m scripts.fuzz                   # 50,000 cases, some minutes
    python -m scripts.fuzz --cases 2000 --seed 3

A real server of two workers has to answer every one of them in time and as documented, and never with a 5xx. The first
that it does not ends the run, made as small as can be. About two thirds of the cases are bodies of `/rank`,
`/rank/batch` and `/feedback`: valid ones with values, keys, bytes and nesting changed; the rest is schemathesis over
all routes, admin routes included.
"""

from __future__ import annotations

import argparse
import http.client
import json
import tempfile
import time
from collections import Counter
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import schemathesis
from hypothesis import HealthCheck, Phase, given, seed, settings, strategies as st
from schemathesis.checks import not_a_server_error
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_schema_conformance,
    status_code_conformance,
)

from benchmarks.support.shop import Shop
from benchmarks.support.workers import TOKEN, Workers, serving

_SHARE_OF_BODIES = 0.65
_TIMEOUT_SECONDS = 10.0
_IDLE_SECONDS = 1.0
_SERVER_ERROR = 500
_PATHS = ("/rank", "/rank/batch", "/feedback")
_CHECKS = [not_a_server_error, content_type_conformance, response_schema_conformance, status_code_conformance]

_SCALARS = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.sampled_from([2**63, -(2**63) - 1, 10**400, 0, -1])
    | st.floats()
    | st.text(max_size=20)
    | st.sampled_from(["", "u1", "i1", "\ud800", "\0", "x" * 5_000, "2024-02-30T25:61:00Z"])
)
_KEYS = st.sampled_from(["user_id", "context", "candidates", "item_id", "features", "price", "hour"]) | st.text()
_VALUES = st.recursive(
    _SCALARS, lambda inner: st.lists(inner, max_size=4) | st.dictionaries(_KEYS, inner, max_size=4), max_leaves=12
)


def main() -> None:
    """Fuzz a server that is started for it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cases", type=int, default=50_000, help="at least so many requests")
    parser.add_argument("--seed", type=int, default=0, help="the same seed sends the same requests")
    arguments = parser.parse_args()
    shop = Shop.at(Path(tempfile.gettempdir()) / "ranker-shop")
    with tempfile.TemporaryDirectory(prefix="ranker-fuzz-") as folder:
        log = {"RANKER_REQUEST_LOG__PATH": f"{folder}/log", "RANKER_POLL_SECONDS": "5"}
        with serving(shop.folder / "registry", shop.store, Path(folder), 2, log) as workers:
            begin = time.monotonic()
            statuses = _bodies(workers, int(arguments.cases * _SHARE_OF_BODIES), arguments.seed)
            num_routes, by_route = _routes(workers, arguments.cases - statuses.total(), arguments.seed)
            total = statuses.total() + by_route.total()
            told = ", ".join(f"{number:,} x {status}" for status, number in sorted((statuses + by_route).items()))
            print(
                f"{total:,} cases in {time.monotonic() - begin:.0f} s, {statuses.total():,} bodies and "
                f"{by_route.total():,} over {num_routes} routes; no 5xx, no hang: {told}"
            )
            tracebacks = sum("traceback" in line for line in workers.lines())
            assert not tracebacks, f"the server's log must have no traceback, it has {tracebacks}"


def _bodies(workers: Workers, number: int, first: int) -> Counter[int]:
    """Bodies that are nearly right; how often each status was the answer."""
    statuses: Counter[int] = Counter()
    caller = _Caller(workers.url)

    @seed(first)
    @settings(max_examples=number, deadline=None, database=None, suppress_health_check=list(HealthCheck))
    @given(st.sampled_from(_PATHS), _changed())
    def run(path: str, body: bytes) -> None:
        status, kind, answer = caller.post(path, body)
        assert status < _SERVER_ERROR, (path, body, status, answer)
        assert kind == ("application/json" if status < 300 else "application/problem+json"), (path, body, kind)
        json.loads(answer)
        statuses[status] += 1

    while statuses.total() < number:  # hypothesis stops early when it believes that it has seen all
        run()
    return statuses


def _routes(workers: Workers, number: int, first: int) -> tuple[int, Counter[int]]:
    """What the document allows; how many routes it has, and how often each status was the answer."""
    api = schemathesis.openapi.from_url(f"{workers.url}/openapi.json")
    operations = [(path, method) for path in api.raw_schema["paths"] for method in api.raw_schema["paths"][path]]
    statuses: Counter[int] = Counter()
    turn = first
    while statuses.total() < number:  # a route without parameters has but one request
        for path, method in operations:
            strategy = api[path][method].as_strategy()
            _route(strategy, -(-number // len(operations)), turn, statuses)
        turn += 1
    return len(operations), statuses


def _route(cases: st.SearchStrategy[Any], number: int, first: int, statuses: Counter[int]) -> None:
    @seed(first)
    @settings(
        max_examples=number,
        deadline=None,
        database=None,
        suppress_health_check=list(HealthCheck),
        phases=[Phase.generate, Phase.shrink],
    )
    @given(case=cases)
    def run(case: Any) -> None:
        headers = {"Authorization": f"Bearer {TOKEN}"}
        response = case.call_and_validate(headers=headers, checks=_CHECKS, timeout=_TIMEOUT_SECONDS)
        statuses[response.status_code] += 1

    run()


class _Caller:
    """One connection to a server; opened anew after a while without use, when the server may have closed it."""

    def __init__(self, url: str) -> None:
        parts = urlsplit(url)
        assert parts.hostname is not None
        self._connection = http.client.HTTPConnection(parts.hostname, parts.port, timeout=_TIMEOUT_SECONDS)
        self._used = time.monotonic()

    def post(self, path: str, body: bytes) -> tuple[int, str, bytes]:
        """Status, media type and body of the answer.

        Raises:
            TimeoutError: There is none in time.
        """
        if time.monotonic() - self._used > _IDLE_SECONDS:
            self._connection.close()  # the next request opens it
        self._connection.request("POST", path, body, {"Content-Type": "application/json"})
        response = self._connection.getresponse()
        answer = response.read()
        self._used = time.monotonic()
        return response.status, response.headers.get_content_type(), answer


@st.composite
def _changed(draw: st.DrawFn) -> bytes:
    """The body of a request: a valid one with a part put elsewhere, left out or replaced, or with other bytes."""
    candidates = [f"i{number}" for number in draw(st.lists(st.integers(0, 40), min_size=1, max_size=8))]
    rank: dict[str, Any] = {"user_id": "u1", "context": {"hour": 3}, "candidates": candidates, "top_k": 3}
    whole: Any = draw(
        st.sampled_from([rank, {"requests": [rank, rank]}, {"request_id": "r", "item_id": 1, "event": "click"}])
    )
    for _ in range(draw(st.integers(0, 3))):
        whole = _with_change(draw, whole)
    body = json.dumps(whole).encode("utf-8", "surrogatepass")
    if draw(st.integers(0, 4)) == 0:
        place = draw(st.integers(0, len(body)))
        body = body[:place] + draw(st.binary(max_size=6)) + body[place + draw(st.integers(0, 3)) :]
    return body


def _with_change(draw: st.DrawFn, part: Any) -> Any:
    """A copy with one change somewhere inside."""
    if not isinstance(part, (dict, list)) or not part or draw(st.integers(0, 3)) == 0:
        return draw(_VALUES)
    if isinstance(part, list):
        place = draw(st.integers(0, len(part) - 1))
        return [*part[:place], _with_change(draw, part[place]), *part[place + draw(st.integers(0, 1)) :]]
    key = draw(st.sampled_from(sorted(part)))
    rest = {name: value for name, value in part.items() if name != key}
    if draw(st.integers(0, 4)) == 0:
        return rest
    return {**rest, draw(st.just(key) | _KEYS): _with_change(draw, part[key])}


if __name__ == "__main__":
    main()
