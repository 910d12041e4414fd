"""Becomes `bentoml serve`."""

from __future__ import annotations

import os
import sys
from pathlib import Path

from benchmarks.peers.bentoml.service import FOLDER

if __name__ == "__main__":
    program = str(Path(sys.executable).with_name("bentoml"))
    service = "benchmarks.peers.bentoml.service:Rank"
    options = ["--host", "127.0.0.1", "--port", sys.argv[2]]
    settings = {FOLDER: sys.argv[1], "BENTOML_DO_NOT_TRACK": "true"}
    os.execve(program, [program, "serve", service, *options], {**os.environ, **settings})
