"""Ray Serve as its documentation advises for throughput.

`RAY_SERVE_THROUGHPUT_OPTIMIZED=1` is the switch of its performance guide: user code in the replica's own event loop,
messages over gRPC, buffered logs. One replica that has a core for itself, one thread for torch, no batching (a request
is a batch of 500 rows already), no access log, no dashboard.
"""

from __future__ import annotations

import os
import signal
import sys
from pathlib import Path
from typing import Any

os.environ |= {"RAY_SERVE_THROUGHPUT_OPTIMIZED": "1", "RAY_USAGE_STATS_ENABLED": "0"}  # read while ray is imported

import ray
from ray import serve
from ray.serve.schema import LoggingConfig
from starlette.requests import Request

from benchmarks.peers.ranker import NaiveRanker
from benchmarks.peers.torch_scorer import TorchScorer

_LOGGING = LoggingConfig(enable_access_log=False, log_level="WARNING")
_OBJECT_STORE_BYTES = 2**27


@serve.deployment(num_replicas=1, max_ongoing_requests=100, ray_actor_options={"num_cpus": 1}, logging_config=_LOGGING)
class Rank:
    """The only deployment."""

    def __init__(self, folder: str) -> None:
        self._ranker = NaiveRanker(Path(folder), TorchScorer(Path(folder)))

    async def __call__(self, request: Request) -> dict[str, Any]:
        """Rank."""
        return self._ranker.rank(await request.json())


if __name__ == "__main__":
    ray.init(include_dashboard=False, object_store_memory=_OBJECT_STORE_BYTES, log_to_driver=False)
    serve.start(http_options={"host": "127.0.0.1", "port": int(sys.argv[2])}, logging_config=_LOGGING)
    serve.run(Rank.bind(sys.argv[1]), route_prefix="/rank")  # type: ignore[attr-defined]  # the decorator adds it
    signal.sigwait([signal.SIGTERM, signal.SIGINT])
    serve.shutdown()
    ray.shutdown()
