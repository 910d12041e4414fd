"""The network over items compiled ahead of time by AOTInductor."""

from __future__ import annotations

import logging
import shutil
import warnings
from pathlib import Path

import torch
from torch import Tensor, fx

from ranker.exporters.base import ItemNetwork

logger = logging.getLogger(__name__)

_MAX_ROWS = 2**20
_COMPILERS = ("g++", "clang++", "c++")


class AOTInductor:
    """C++ for the whole network, its element-wise work fused around oneDNN's products on packed weights.

    Its file holds a shared object, made for the processor that it was compiled on.
    """

    file = "network.pt2"

    def unavailable(self) -> str | None:
        """Why it cannot be made here: it needs a C++ compiler."""
        if any(shutil.which(name) for name in _COMPILERS):
            return None
        return f"there is no C++ compiler, looked for {', '.join(_COMPILERS)}; install one, or export elsewhere"

    def export(self, network: fx.GraphModule, item_KV: Tensor, request_1P: Tensor, path: Path) -> None:
        """Compile for any number of item rows; takes tens of seconds."""
        # Inductor is slow to import, and a server that only loads has no need of it.
        from torch._inductor import aoti_compile_and_package

        rows = torch.export.Dim("rows", min=2, max=_MAX_ROWS)
        with torch.inference_mode(False), torch.no_grad(), warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of the compiler's making, about its own parts
            exported = torch.export.export(network, (item_KV, request_1P), dynamic_shapes=({0: rows}, None))
            aoti_compile_and_package(exported, package_path=str(path), inductor_configs={"freezing": True})

    def load(self, path: Path) -> ItemNetwork:
        """The compiled network."""
        from torch._inductor import aoti_load_package

        loaded: ItemNetwork = aoti_load_package(str(path))
        return loaded
