"""A naive network in onnxruntime, float32, one thread: told numbers of candidates, it answers with seconds.

python -m benchmarks.peers.onnxruntime.timed NaiveMMoE SIZES.json
"""

from __future__ import annotations

import json
import sys
import tempfile
import time
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import torch

from benchmarks.peers.naive_ple import NaivePLE
from benchmarks.peers.network import NaiveMMoE, Sizes

NETWORKS = {"NaiveMMoE": NaiveMMoE, "NaivePLE": NaivePLE}
_EXAMPLE_ROWS = 500


def session(name: str, sizes: Sizes, folder: Path) -> Any:
    """The network, exported and loaded."""
    network = NETWORKS[name](sizes).eval()
    example = (
        torch.zeros(_EXAMPLE_ROWS, len(sizes.table_rows), dtype=torch.int64),
        torch.zeros(_EXAMPLE_ROWS, sizes.num_numbers),
    )
    length = torch.export.Dim("length", min=2, max=100_000)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of the exporter's, about itself
        torch.onnx.export(
            network,
            example,
            str(folder / "model.onnx"),
            input_names=["ids", "numbers"],
            dynamic_shapes=({0: length}, {0: length}),
            external_data=False,
            dynamo=True,
            verbose=False,
        )
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_ENABLE_ALL
    return onnxruntime.InferenceSession(
        (folder / "model.onnx").read_bytes(), options, providers=["CPUExecutionProvider"]
    )


def main() -> None:
    """Answer each line, a JSON list of numbers of candidates, with the seconds that each forward took."""
    name, sizes = sys.argv[1], Sizes(**json.loads(Path(sys.argv[2]).read_text()))
    torch.set_num_threads(1)
    random = np.random.default_rng(0)
    with tempfile.TemporaryDirectory() as folder:
        found = session(name, sizes, Path(folder))
    print("ready", flush=True)
    for line in sys.stdin:
        seconds = []
        for length in json.loads(line):
            ids_LF = random.integers(0, min(sizes.table_rows), (length, len(sizes.table_rows)))
            feeds = {"ids": ids_LF, "numbers": random.random((length, sizes.num_numbers), np.float32)}
            start = time.process_time()
            found.run(None, feeds)
            seconds.append(time.process_time() - start)
        print(json.dumps(seconds), flush=True)


if __name__ == "__main__":
    main()
