"""The network over items compiled ahead of time by AOTInductor."""

from __future__ import annotations

import shutil
import tempfile
import warnings
import zipfile
from pathlib import Path

import torch
from torch import Tensor, fx, nn

from ranker.exporters.base import ItemNetwork
from ranker.exporters.shared_object import SharedObject

_MAX_ROWS = 2**20
_COMPILERS = ("g++", "clang++", "c++")
_SETTINGS = {
    "freezing": True,  # weights are packed once, now
    "cpp.threads": 1,  # of a server's workers each has one; else it would be as many as there are here
    # Products become C++, too, with what follows them in the same loop, where that is faster than oneDNN's here; those
    # that read the same input become one.
    "max_autotune_gemm": True,
    "max_autotune_gemm_backends": "CPP,ATEN",
    "cpp.enable_grouped_gemm_template": True,
    "autotune_num_choices_displayed": 0,
    "max_autotune_report_choices_stats": False,
}


class AOTInductor:
    """C++ for the whole network: products on packed weights, as C++ or by oneDNN, and all else fused around them.

    Its file is a shared object, made for the processor that it was compiled on.
    """

    file = "network.so"

    def unavailable(self) -> str | None:
        """Why it cannot be made here: it needs a C++ compiler."""
        if any(shutil.which(name) for name in _COMPILERS):
            return None
        return f"there is no C++ compiler, looked for {', '.join(_COMPILERS)}; install one, or export elsewhere"

    def export(self, network: fx.GraphModule, item_KV: Tensor, request_1P: Tensor, path: Path) -> None:
        """Compile for any number of item rows; takes tens of seconds.

        Raises:
            RuntimeError: The network needs an operation that torch's C interface does not have.
        """
        # Inductor is slow to import, and a server that only loads has no need of it.
        from torch._inductor import aoti_compile_and_package

        rows = torch.export.Dim("rows", min=2, max=_MAX_ROWS)
        with torch.inference_mode(False), torch.no_grad(), warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of the compiler's making, about its own parts
            exported = torch.export.export(_Stacked(network), (item_KV, request_1P), dynamic_shapes=({0: rows}, None))
            with tempfile.TemporaryDirectory() as folder:
                package = aoti_compile_and_package(
                    exported, package_path=f"{folder}/network.pt2", inductor_configs=_SETTINGS
                )
                path.write_bytes(_shared_object(Path(package)))

    def load(self, path: Path) -> ItemNetwork:
        """The compiled network."""
        return SharedObject(path)


class _Stacked(nn.Module):
    """The outputs of the network as one tensor [T, K]."""

    def __init__(self, network: fx.GraphModule) -> None:
        super().__init__()
        self.network = network

    def forward(self, item_KV: Tensor, request_1P: Tensor) -> Tensor:
        return torch.stack(self.network(item_KV, request_1P))


def _shared_object(package: Path) -> bytes:
    """The compiled code of a package, which needs nothing else of it."""
    with zipfile.ZipFile(package) as archive:
        (name,) = [name for name in archive.namelist() if name.endswith(".so")]
        if f"{name.removesuffix('.so')}.json" in archive.namelist():  # operations that it would look up by name
            raise RuntimeError("the network needs operations that torch's C interface does not have")
        return archive.read(name)
