"""LitServe as its documentation advises for one worker.

`fast_queue` carries requests over ZeroMQ in place of a multiprocessing queue. `max_batch_size` stays 1: a request is
a batch of 500 rows already. One API server and one inference worker, no access log.
"""

# LitServe reads the annotations of `decode_request`, and takes those of `from __future__ import annotations` for text.
import sys
from pathlib import Path
from typing import Any

import litserve

from benchmarks.peers.ranker import NaiveRanker
from benchmarks.peers.torch_scorer import TorchScorer


class RankAPI(litserve.LitAPI):  # type: ignore[misc]  # of this peer's own environment: untyped here
    """Ranks in the inference worker; LitServe decodes and encodes JSON in the API server."""

    def __init__(self, folder: Path) -> None:
        super().__init__(max_batch_size=1, api_path="/rank")
        self._folder = folder

    def setup(self, device: str) -> None:
        """Load, once per inference worker."""
        del device
        self._ranker = NaiveRanker(self._folder, TorchScorer(self._folder))

    def decode_request(self, request: dict[str, Any]) -> dict[str, Any]:
        """The decoded body, as it is."""
        return request

    def predict(self, body: dict[str, Any]) -> dict[str, Any]:
        """Rank."""
        return self._ranker.rank(body)

    def encode_response(self, output: dict[str, Any]) -> dict[str, Any]:
        """The answer, as it is."""
        return output


if __name__ == "__main__":
    server = litserve.LitServer(
        RankAPI(Path(sys.argv[1])), accelerator="cpu", workers_per_device=1, fast_queue=True, timeout=120
    )
    server.run(
        host="127.0.0.1",
        port=int(sys.argv[2]),
        num_api_servers=1,
        log_level="warning",
        access_log=False,
        generate_client_file=False,
    )
