"""Writing and reading TorchScript: the only place that touches it, so that its successor has one place to come to."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TypeVar

import torch
from torch import Tensor, nn

import ranker.onednn  # noqa: F401 (graphs in bfloat16 use its operation)
from ranker.errors import BundleError
from ranker.manifest import FIX

Result = TypeVar("Result")


def script(module: nn.Module) -> torch.jit.ScriptModule:
    """A module as TorchScript."""
    with _deprecated():
        scripted: torch.jit.ScriptModule = torch.jit.script(module)
    return scripted


def save_graph(graph: torch.jit.ScriptModule, path: Path) -> None:
    """Write TorchScript to a file."""
    with _deprecated():
        content = graph.save_to_buffer()
    path.write_bytes(content)  # torch's own writing ends the process where the disk is full


def load_graph(path: Path) -> torch.jit.ScriptModule:
    """Read TorchScript from a file, onto the CPU.

    Raises:
        BundleError: It is none.
    """
    try:
        with _deprecated():
            graph: torch.jit.ScriptModule = torch.jit.load(str(path), map_location="cpu")
    except RuntimeError as error:
        raise BundleError(f"'{path}' is no TorchScript model: {error}; {FIX}") from error
    return graph


def call(function: Callable[..., Result], *tensors: Tensor) -> Result:
    """What TorchScript makes of tensors that Python holds, computed outside the lock of Python's interpreter.

    torch takes that lock whenever a tensor's last reference but Python's own comes or goes, and TorchScript's does so
    several times with each of its arguments: the call would wait for other threads each time. A second reference that
    stays for as long as the call spares it.
    """
    held = torch._C.ScriptList([*tensors])
    result = function(*tensors)
    del held
    return result


@contextmanager
def _deprecated() -> Iterator[None]:
    """torch has deprecated TorchScript as a whole; bundles use it until torch.export runs as lean in a server."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message=r"`torch\.jit\.\w+` is deprecated", category=DeprecationWarning)
        yield
