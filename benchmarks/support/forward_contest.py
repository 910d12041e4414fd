"""Forms of one network that are timed against each other: the contest of `benchmarks.engine`."""

from __future__ import annotations

import json
import subprocess
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Protocol, Self

import torch
from torch import Tensor

from benchmarks.peers.naive_ple import NaivePLE
from benchmarks.peers.network import NaiveMMoE, Sizes
from benchmarks.support.peer_environments import ROOT, python_of
from ranker.exporters import AOTInductor
from ranker.huge_pages import use_huge_pages
from ranker.manifest import Precision
from ranker.models import PLE, MMoE, NetworkConfig
from ranker.schema import Schema
from ranker.scoring import ScoringGraph
from ranker.serving_graph import ServingGraph, for_compilers, padded_rows
from ranker.torchscript import script

# Shapes: L = candidates

NUM_CATEGORIES, NUM_NUMBERS, DIM, TABLE_ROWS, TASKS = 30, 10, 16, 66_667, ("ctr", "cvr")  # half of each are the item's
SIZES = Sizes([TABLE_ROWS] * NUM_CATEGORIES, DIM, NUM_NUMBERS, 4, [256, 128], [64], len(TASKS))
NETWORKS: dict[str, tuple[NetworkConfig, type[torch.nn.Module], Sizes]] = {
    "MMoE": (MMoE.Config(), NaiveMMoE, SIZES),
    "PLE": (PLE.Config(), NaivePLE, SIZES._replace(num_experts=2)),
}


class Contender(Protocol):
    """One form of the network."""

    def seconds(self, lengths: Sequence[int]) -> list[float]:
        """Seconds of a forward pass for each number of candidates."""


class Local:
    """A form that runs in this process.

    Args:
        inputs: Makes the arguments for a number of candidates.
        forward: What is timed.
    """

    def __init__(self, inputs: Callable[[int], tuple[Tensor, ...]], forward: Callable[..., object]) -> None:
        self.inputs, self.forward = inputs, forward

    def seconds(self, lengths: Sequence[int]) -> list[float]:
        """See `Contender`."""
        found = []
        for length in lengths:
            arguments = self.inputs(length)
            with torch.inference_mode():
                start = time.process_time()
                self.forward(*arguments)
                found.append(time.process_time() - start)
        return found


class OnnxRuntime:
    """The naive network in onnxruntime, in a process and an environment of its own."""

    def __init__(self, network: str, folder: Path) -> None:
        naive, sizes = NETWORKS[network][1:]
        (folder / "sizes.json").write_text(json.dumps(sizes._asdict()))
        command = [str(python_of("onnxruntime")), "-m", "benchmarks.peers.onnxruntime.timed", naive.__name__]
        self._process = subprocess.Popen(
            [*command, str(folder / "sizes.json")], cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )

    def __enter__(self) -> Self:
        while self._line() != "ready":
            pass
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._process.kill()
        self._process.communicate()

    def seconds(self, lengths: Sequence[int]) -> list[float]:
        """See `Contender`."""
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps(list(lengths)) + "\n")
        self._process.stdin.flush()
        found: list[float] = json.loads(self._line())
        return found

    def _line(self) -> str:
        assert self._process.stdout is not None
        if not (line := self._process.stdout.readline()):
            raise RuntimeError("the process of onnxruntime ended; its error is above")
        return line.strip()


def naive(network: str) -> Local:
    """The naive network as frozen TorchScript."""
    kind, sizes = NETWORKS[network][1:]
    module = kind(sizes).eval()
    use_huge_pages(module.parameters())  # as our server does: the contest is about what is computed
    frozen = torch.jit.freeze(script(module))

    def inputs(length: int) -> tuple[Tensor, ...]:
        return torch.randint(TABLE_ROWS, (length, NUM_CATEGORIES)), torch.randn(length, NUM_NUMBERS)

    return Local(inputs, frozen)


def ours(network: str, precision: Precision) -> ServingGraph:
    """Our form of the network, with random weights."""
    tables = {f"category_{place}": torch.randn(TABLE_ROWS, DIM) for place in range(NUM_CATEGORIES)}
    architecture = NETWORKS[network][0].build(SIZES.input_dim, TASKS).eval()
    graph = ServingGraph(ScoringGraph(_schema(), tables, architecture), precision)
    use_huge_pages(graph.parameters())
    return graph


def our_torchscript(graph: ServingGraph) -> Local:
    """Our form in TorchScript."""
    return Local(_one_request, script(graph))


def our_aotinductor(graph: ServingGraph, folder: Path) -> Local:
    """Our form with the network over items compiled by AOTInductor."""
    exporter = AOTInductor()
    if problem := exporter.unavailable():
        raise RuntimeError(problem)
    item_KV, request_1P = graph.example()
    exporter.export(for_compilers(graph.network), item_KV, request_1P, folder / exporter.file)
    compiled, lookups = exporter.load(folder / exporter.file), script(graph)
    return Local(_one_request, lambda *arguments: compiled(*lookups.represent(*arguments)))


def floor(network: str) -> Local:
    """The matrix products of the split network by themselves, one after the other, in bfloat16 on dense operands."""
    width = (NUM_CATEGORIES * DIM + NUM_NUMBERS) // 2
    config = NETWORKS[network][0]
    shapes: list[tuple[int, int, int]]  # products, inner width, columns
    if isinstance(config, MMoE.Config):
        (first, last), num = config.expert_dims, config.num_experts
        shapes = [(1, width, num * first + len(TASKS) * num), (num, first, last)]
    else:
        assert isinstance(config, PLE.Config)
        ((first,), (last,)), owners, num = config.expert_dims, len(TASKS) + 1, config.num_shared_experts
        gates = len(TASKS) * 2 * num
        shapes = [
            (1, width, owners * num * first + gates + owners * num),
            (owners, first, num * last + gates // owners),
        ]
    shapes.append((len(TASKS), last, 64))
    weights = [torch.randn(shape, dtype=torch.bfloat16) for shape in shapes]

    def inputs(length: int) -> tuple[Tensor, ...]:
        padded = padded_rows(length)
        return tuple(torch.randn(count, padded, inner, dtype=torch.bfloat16) for count, inner, _ in shapes)

    def products(*inputs_NBI: Tensor) -> None:
        for x_NBI, weight_NIO in zip(inputs_NBI, weights, strict=True):
            if len(x_NBI) == 1:
                torch.mm(x_NBI[0], weight_NIO[0])
            else:
                torch.bmm(x_NBI, weight_NIO)

    return Local(inputs, products)


def _schema() -> Schema:
    sides = ("user", "item")
    features: list[dict[str, Any]] = [
        {
            "name": f"category_{place}",
            "side": sides[place % 2],
            "kind": "categorical",
            "encoding": {"kind": "hash", "num_buckets": TABLE_ROWS},
        }
        for place in range(NUM_CATEGORIES)
    ]
    features += [
        {"name": f"number_{place}", "side": sides[place % 2], "kind": "numeric"} for place in range(NUM_NUMBERS)
    ]
    tasks = [{"name": task, "label": task} for task in TASKS]
    return Schema.model_validate({"embedding_dim": DIM, "features": features, "tasks": tasks})


def _one_request(length: int) -> tuple[Tensor, ...]:
    """Encoded sides of one request with `length` candidates, and their index."""
    categories, numbers = NUM_CATEGORIES // 2, NUM_NUMBERS // 2

    def side(rows: int) -> tuple[Tensor, ...]:
        ids = torch.randint(TABLE_ROWS, (categories * rows,))
        return ids, torch.ones(categories * rows, dtype=torch.int64), torch.randn(rows, numbers)

    return *side(1), *side(length), torch.zeros(length, dtype=torch.int64)
