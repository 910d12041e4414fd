"""What an engine for the network over items is: something that compiles it into a file, and calls that file."""

from __future__ import annotations

import platform
from collections.abc import Callable
from pathlib import Path
from typing import Protocol

import torch
from torch import Tensor, fx

from ranker.frozen_config import FrozenConfig

# Shapes: K = item rows, padded; V = columns of the item's side; P = request products, T = tasks

ItemNetwork = Callable[[Tensor, Tensor], Tensor]
"""From `item_KV` and `request_1P` to raw outputs [T, K]; for one request only."""


class Machine(FrozenConfig):
    """What compiled code depends on beside its source.

    Attributes:
        torch_version: Compiled code calls into torch.
        processor: Architecture, as `platform.machine` names it.
        instructions: Instruction sets that the compiler may have used.
    """

    torch_version: str
    processor: str
    instructions: tuple[str, ...]

    @classmethod
    def here(cls) -> Machine:
        """This one."""
        found = torch.cpu.get_capabilities()
        return cls(
            torch_version=str(torch.__version__),
            processor=platform.machine(),
            instructions=tuple(sorted(name for name, has in found.items() if has is True)),
        )

    def misfit(self, here: Machine) -> str | None:
        """Why code compiled on this machine must not run on another; None if it may."""
        if (self.torch_version, self.processor) != (here.torch_version, here.processor):
            return (
                f"it was compiled for torch {self.torch_version} on {self.processor}, "
                f"here is torch {here.torch_version} on {here.processor}"
            )
        if missing := sorted(set(self.instructions) - set(here.instructions)):
            return f"it was compiled for a processor with {missing}, which this one lacks"
        return None


class Exporter(Protocol):
    """One engine.

    Attributes:
        file: Name of its file in a bundle.
    """

    file: str

    def unavailable(self) -> str | None:
        """Why it cannot be made on this machine; None if it can."""

    def export(self, network: fx.GraphModule, item_KV: Tensor, request_1P: Tensor, path: Path) -> None:
        """Compile the network.

        Args:
            network: `ServingGraph.network`, as `for_compilers` gives it.
            item_KV: Example of its first input.
            request_1P: Example of its second.
            path: File to write.
        """

    def load(self, path: Path) -> ItemNetwork:
        """The compiled network. The file is code: only one that a manifest vouches for may be loaded."""
