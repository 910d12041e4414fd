"""Starlette on uvicorn with uvloop and httptools; orjson both ways; ranking first in, first out in one thread."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import orjson
import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from benchmarks.peers.ranker import NaiveRanker
from benchmarks.peers.starlette.onnx_scorer import MODEL, OnnxScorer


def create_app(folder: Path) -> Starlette:
    """The application."""
    ranker = NaiveRanker(folder, OnnxScorer(folder))
    thread = ThreadPoolExecutor(max_workers=1)

    def answer(body: bytes) -> bytes:
        return orjson.dumps(ranker.rank(orjson.loads(body)))

    async def rank(request: Request) -> Response:
        body = await request.body()
        ranking = await asyncio.get_running_loop().run_in_executor(thread, answer, body)
        return Response(ranking, media_type="application/json")

    return Starlette(routes=[Route("/rank", rank, methods=["POST"])])


if __name__ == "__main__":
    world = Path(sys.argv[1])
    if not (world / MODEL).exists():  # in a process of its own: this one shall not hold torch
        subprocess.run([sys.executable, "-m", "benchmarks.peers.starlette.onnx_scorer", str(world)], check=True)
    uvicorn.run(
        create_app(world),
        host="127.0.0.1",
        port=int(sys.argv[2]),
        loop="uvloop",
        http="httptools",
        access_log=False,
        log_level="warning",
    )
