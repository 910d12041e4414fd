"""Engines for the network over items beside TorchScript, each made from the traced network in one file.

TorchScript is in every bundle and needs no exporter: `model.pt` has the lookups, and scores by itself. An exporter
compiles `ServingGraph.network` alone, which the bundle then calls on what `ServingGraph.represent` gives.
"""

from typing import Literal

from ranker.exporters.aotinductor import AOTInductor
from ranker.exporters.base import Exporter, ItemNetwork, Machine

CompiledEngine = Literal["aotinductor"]

EXPORTERS: dict[CompiledEngine, Exporter] = {"aotinductor": AOTInductor()}

__all__ = ["EXPORTERS", "AOTInductor", "CompiledEngine", "Exporter", "ItemNetwork", "Machine"]
