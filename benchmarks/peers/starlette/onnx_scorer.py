"""The network in onnxruntime, float32, one thread."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

# Shapes: L = candidates, F = categories, N = numbers, T = tasks

MODEL = "model.onnx"
_EXAMPLE_ROWS = 500


class OnnxScorer:
    """Probabilities of table rows and numbers.

    Args:
        folder: Holds the exported model.
    """

    def __init__(self, folder: Path) -> None:
        import onnxruntime

        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = options.inter_op_num_threads = 1
        options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_ENABLE_ALL
        self._session: Any = onnxruntime.InferenceSession(
            str(folder / MODEL), options, providers=["CPUExecutionProvider"]
        )

    def __call__(self, ids_LF: npt.NDArray[np.int64], numbers_LN: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
        """Probabilities [L, T]."""
        probability_LT: npt.NDArray[np.float32] = self._session.run(None, {"ids": ids_LF, "numbers": numbers_LN})[0]
        return probability_LT


def export(folder: Path) -> None:
    """Write the model, from the weights beside it."""
    import torch

    from benchmarks.peers.network import NaiveMMoE, Sizes

    sizes = Sizes(**torch.load(folder / "sizes.pt", weights_only=True))
    network = NaiveMMoE(sizes).eval()
    network.load_state_dict(torch.load(folder / "weights.pt", weights_only=True))
    ids_LF = torch.zeros(_EXAMPLE_ROWS, len(sizes.table_rows), dtype=torch.int64)
    numbers_LN = torch.zeros(_EXAMPLE_ROWS, sizes.num_numbers)
    length = torch.export.Dim("length", min=2, max=100_000)
    torch.onnx.export(
        network,
        (ids_LF, numbers_LN),
        str(folder / MODEL),
        input_names=["ids", "numbers"],
        dynamic_shapes=({0: length}, {0: length}),
        external_data=False,
        dynamo=True,
    )


if __name__ == "__main__":
    export(Path(sys.argv[1]))
