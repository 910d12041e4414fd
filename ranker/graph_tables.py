"""Large tables of a scripted graph in files of their own, which processes map, and so share."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import torch

from ranker.errors import BundleError
from ranker.manifest import FIX

TABLES = "tables"
_MIN_BYTES = 2**20  # smaller ones are read as fast with the graph


@contextmanager
def tables_apart(graph: torch.jit.ScriptModule, folder: Path) -> Iterator[None]:
    """Write the large parameters of a graph to files, and leave them out of it while the block lasts.

    Args:
        graph: Whole again after the block.
        folder: Where to, `<parameter>.npy` each; made if there is any.
    """
    large = {name: weight for name, weight in graph.named_parameters() if weight.nbytes >= _MIN_BYTES}
    contents = {name: weight.data for name, weight in large.items()}
    if large:
        folder.mkdir()
    for name, content in contents.items():
        np.save(folder / f"{name}.npy", content.numpy())
    try:
        for weight in large.values():
            weight.data = torch.empty(0)
        yield
    finally:
        for name, weight in large.items():
            weight.data = contents[name]


def map_tables(graph: torch.jit.ScriptModule, folder: Path) -> None:
    """Give a graph the parameters that were left out of it.

    They stay in their files: what one process has read is in memory for all of them, and what none reads is not. The
    files must not change from now on; they may be removed.

    Args:
        graph: As it was saved.
        folder: Of the files; absent if nothing was left out.

    Raises:
        BundleError: A file is none of the graph's, or cannot be read.
    """
    weights = dict(graph.named_parameters())
    for path in sorted(folder.glob("*.npy")):
        if path.stem not in weights:
            raise BundleError(f"'{path}' must be named after a parameter of the graph, one of {sorted(weights)}; {FIX}")
        try:
            table = np.load(path, mmap_mode="c")  # copy on write: nothing that is done to it gets into the file
        except (OSError, ValueError) as error:
            raise BundleError(f"'{path}' is no table: {error}; {FIX}") from error
        weights[path.stem].data = torch.from_numpy(table)
