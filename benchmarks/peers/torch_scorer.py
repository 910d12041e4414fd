"""The network as TorchScript, one thread."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch

# Shapes: L = candidates, F = categories, N = numbers, T = tasks

MODEL = "model.pt"


class TorchScorer:
    """Probabilities of table rows and numbers.

    Args:
        folder: Holds the frozen TorchScript model.
    """

    def __init__(self, folder: Path) -> None:
        torch.set_num_threads(1)
        self._model = torch.jit.load(str(folder / MODEL))

    def __call__(self, ids_LF: npt.NDArray[np.int64], numbers_LN: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
        """Probabilities [L, T]."""
        with torch.inference_mode():
            probability_LT: npt.NDArray[np.float32] = self._model(
                torch.from_numpy(ids_LF), torch.from_numpy(numbers_LN)
            ).numpy()
        return probability_LT
