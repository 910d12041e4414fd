"""What no server of this stack can do without: HTTP, a body decoded, the network run. It ranks nothing."""

from __future__ import annotations

import sys
from pathlib import Path

import msgspec
import numpy as np
import orjson
import torch
import uvicorn
from starlette.types import Receive, Scope, Send

from ranker.bundle import Bundle
from ranker.registry import Registry
from serving.schemas import RankRequest
from serving.scoring_thread import ScoringThread

NUM_CANDIDATES, NUM_PLACES = 500, 50
SWITCH_SECONDS = 1e-4  # as our server has it


class Bound:
    """An ASGI application that scores the same candidates for whatever it is asked, and gives always one answer.

    The body is decoded to typed objects and dropped: no feature is read, no value checked or encoded, no output
    calibrated, no score fused or sorted. The network runs in a thread of its own, by AOTInductor where it can.

    Args:
        bundle: Whose network runs.
        thread: Runs it.
    """

    def __init__(self, bundle: Bundle, thread: ScoringThread) -> None:
        self._bundle = bundle if bundle.misfit("aotinductor") else bundle.compiled("aotinductor")
        golden = bundle.golden()
        request, items = bundle.encoder.encode_columns(golden)
        self._request = request.take(np.zeros(1, np.int64)).tensors()
        self._items = items.take(np.arange(NUM_CANDIDATES) % golden.num_rows).tensors()
        self._thread = thread
        self._decoder = msgspec.json.Decoder(RankRequest)
        outputs = dict.fromkeys(bundle.schema.output_names, 0.123456789)
        place = {"item_id": 12345, "score": 0.123456789, "outputs": outputs}
        self._answer = orjson.dumps({"ranking": [place] * NUM_PLACES})

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """One ASGI call."""
        if scope["type"] != "http":
            return
        message = await receive()
        body = message["body"]
        while message["more_body"]:
            message = await receive()
            body += message["body"]
        self._decoder.decode(body)
        await self._thread.run(lambda: self._bundle.raw_outputs(self._request, self._items))
        headers = [(b"content-type", b"application/json"), (b"content-length", str(len(self._answer)).encode())]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        await send({"type": "http.response.body", "body": self._answer})


def main() -> None:
    """Serve a registry's current bundle on a port."""
    torch.set_num_threads(1)
    sys.setswitchinterval(SWITCH_SECONDS)
    with ScoringThread() as thread:
        uvicorn.run(
            Bound(Registry(Path(sys.argv[1])).load(), thread),
            host="127.0.0.1",
            port=int(sys.argv[2]),
            loop="uvloop",
            http="httptools",
            lifespan="off",
            access_log=False,
            log_level="warning",
        )


if __name__ == "__main__":
    main()
