"""What a bundle holds, so that two of them can be compared bit by bit."""

from __future__ import annotations

from pathlib import Path

import pyarrow.parquet as pq
import torch
from torch import Tensor

from ranker.bundle import Bundle

_FILES = ("architecture.safetensors", "schema.json", "calibration.json", "fusion.json")


def bundle_content(bundle: Bundle) -> dict[str, bytes]:
    """Everything that scores depend on, and the golden scores, by name; neither times nor versions nor reports.

    Args:
        bundle: Read from disk.
    """
    found = {f"model.pt/{name}": bytes_of(tensor) for name, tensor in bundle.model.state_dict().items()}
    files = [*(bundle.path / name for name in _FILES), *(path for path in _below(bundle.path / "encoder"))]
    found |= {path.relative_to(bundle.path).as_posix(): path.read_bytes() for path in files}
    golden = pq.read_table(bundle.path / "golden.parquet")
    return found | {f"golden/{name}": repr(golden[name].to_pylist()).encode() for name in golden.column_names}


def _below(folder: Path) -> list[Path]:
    return sorted(path for path in folder.rglob("*") if path.is_file())


def bytes_of(tensor: Tensor) -> bytes:
    """The bits of a tensor of any type."""
    content: bytes = tensor.contiguous().view(-1).view(torch.uint8).numpy().tobytes()
    return content
