"""torchrec's `DistributedModelParallel`: tables sharded over processes, the dense part copied on each.

One code path, from one process to many: under torchrun the group spans its processes, otherwise it is a group of one.
What leaves this module is always the unsharded state, so that a model trained on N processes resumes on M.
"""

from __future__ import annotations

import logging
import os
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import timedelta
from typing import NamedTuple

import torch
import torch.distributed as dist
from torch import Tensor
from torch._C._distributed_c10d import HashStore
from torch.distributed.optim.apply_optimizer_in_backward import _apply_optimizer_in_backward
from torch.optim import SGD, Optimizer
from torchrec import EmbeddingBagCollection
from torchrec.distributed import DistributedModelParallel
from torchrec.distributed.embeddingbag import EmbeddingBagCollectionSharder
from torchrec.distributed.planner import EmbeddingShardingPlanner, ParameterConstraints
from torchrec.distributed.planner.storage_reservations import FixedPercentageStorageReservation
from torchrec.distributed.planner.types import KernelConfig, TopologyFactory, TrainerConfig
from torchrec.distributed.types import ShardedTensor
from torchrec.optim import RowWiseAdagrad

from ranker.layers.embedding import TABLE_PREFIX
from training.allocator import keep_freed_memory
from training.config import TableOptimizer

# Says at every start that a function torchrec calls has a successor; nothing a user could act on.
logging.getLogger("torch.fx._symbolic_trace").setLevel(logging.ERROR)

# While one process checks the data or fills a feature store, the others wait for it.
_PATIENCE = timedelta(hours=12)
_TABLE_OPTIMIZERS: dict[str, type[Optimizer]] = {"rowwise_adagrad": RowWiseAdagrad, "sgd": SGD}


@contextmanager
def process_group() -> Iterator[None]:
    """The group of training processes: torchrun's, or one of this process alone; freed memory stays theirs."""
    if dist.is_initialized():
        yield
        return
    keep_freed_memory()
    if "WORLD_SIZE" in os.environ:
        if torch.cuda.is_available():
            torch.cuda.set_device(int(os.environ.get("LOCAL_RANK", "0")))
            dist.init_process_group("cpu:gloo,cuda:nccl", timeout=_PATIENCE)  # whole states are gathered on the CPU
        else:
            dist.init_process_group("gloo", timeout=_PATIENCE)
    else:
        dist.init_process_group("gloo", store=HashStore(), rank=0, world_size=1)
    try:
        yield
    finally:
        dist.destroy_process_group()


def shard(
    collection: EmbeddingBagCollection, optimizer: TableOptimizer, device: torch.device
) -> DistributedModelParallel:
    """Place the tables of a collection on the processes, with the optimizer fused into their backward pass.

    Args:
        collection: Tables on the `meta` device.
        optimizer: Applied to the rows that a backward pass reaches.
        device: Where this process keeps its tables.
    """
    _apply_optimizer_in_backward(
        _TABLE_OPTIMIZERS[optimizer.name], collection.parameters(), {"lr": optimizer.learning_rate}
    )
    sharders = [EmbeddingBagCollectionSharder()]
    # Left to itself the planner makes small tables data-parallel, where a fused optimizer does nothing: such a
    # table would never train.
    constraints = {
        config.name: ParameterConstraints(sharding_types=["table_wise"], compute_kernels=["fused"])
        for config in collection.embedding_bag_configs()
    }
    with _quiet_torchrec():
        topology = TopologyFactory.create_topology(
            TrainerConfig(world_size=dist.get_world_size()), kernel_config=KernelConfig(compute_device=device.type)
        )
        planner = EmbeddingShardingPlanner(
            topology=topology, constraints=constraints, storage_reservation=FixedPercentageStorageReservation(0.15)
        )
        plan = planner.collective_plan(collection, sharders, dist.GroupMember.WORLD)
        return DistributedModelParallel(
            collection, device=device, plan=plan, sharders=sharders, init_data_parallel=False
        )


class TableState(NamedTuple):
    """A tensor that is spread over the processes.

    Attributes:
        size: Of the whole.
        dtype: Of its values.
        parts: Offsets and live storage of the parts that this process holds.
    """

    size: torch.Size
    dtype: torch.dtype
    parts: list[tuple[list[int], Tensor]]

    @classmethod
    def whole(cls, tensor: Tensor) -> TableState:
        """Of a tensor that this process holds alone."""
        return cls(tensor.size(), tensor.dtype, [([0] * tensor.dim(), tensor)])


def table_states(sharded: DistributedModelParallel) -> dict[str, TableState]:
    """The live tensors of the tables: `NAME` for the weights of all, `NAME/STATE` for the optimizer's of those here."""
    with _quiet_torchrec():
        weights = {_table(key): _state(value) for key, value in sharded.state_dict().items()}
        states = sharded.fused_optimizer.state_dict()["state"]
        per_table = {
            f"{_table(key)}/{name.split('.')[-1]}": _state(value)
            for key, entry in states.items()
            for name, value in entry.items()
            if isinstance(value, (Tensor, ShardedTensor))
        }
    return {**weights, **per_table}


def _state(tensor: Tensor | ShardedTensor) -> TableState:
    if not isinstance(tensor, ShardedTensor):
        return TableState.whole(tensor)
    parts = [(shard.metadata.shard_offsets, shard.tensor) for shard in tensor.local_shards()]
    return TableState(tensor.size(), tensor.dtype, parts)


def _table(key: str) -> str:
    """Name of the table that `embedding_bags.table_NAME.weight` is about."""
    return key.split(".")[-2].removeprefix(TABLE_PREFIX)


def gather(states: Mapping[str, TableState]) -> dict[str, Tensor]:
    """Whole copies of spread tensors, on the CPU of every process; also of those that live on other processes only."""
    return {name: _whole(states.get(name), *known) for name, known in _known(states).items()}


def scatter(whole: Mapping[str, Tensor], states: Mapping[str, TableState]) -> None:
    """Write whole tensors into live ones, each process its parts."""
    with torch.no_grad():
        for name, state in states.items():
            for offsets, part in state.parts:
                part.copy_(whole[name][_window(offsets, part)])


def average(tensors: Sequence[Tensor]) -> None:
    """Replace each tensor by its mean over the processes, in one exchange."""
    if dist.get_world_size() == 1 or not tensors:
        return
    flat = torch.cat([tensor.reshape(-1) for tensor in tensors])
    dist.all_reduce(flat)
    flat /= dist.get_world_size()
    for tensor, part in zip(tensors, flat.split([tensor.numel() for tensor in tensors]), strict=True):
        tensor.copy_(part.view_as(tensor))


def total(tensor: Tensor) -> Tensor:
    """The sum of a tensor over the processes."""
    if dist.get_world_size() > 1:
        tensor = tensor.clone()
        dist.all_reduce(tensor)
    return tensor


def gather_rows(rows: Tensor) -> Tensor:
    """Rows of every process, one after the other; processes may hold different numbers of them."""
    world = dist.get_world_size()
    if world == 1:
        return rows
    sizes = [torch.zeros(1, dtype=torch.int64, device=rows.device) for _ in range(world)]
    dist.all_gather(sizes, torch.tensor([len(rows)], device=rows.device))
    longest = int(max(int(size) for size in sizes))
    padded = torch.cat([rows, rows.new_zeros((longest - len(rows), *rows.shape[1:]))])
    parts = [torch.empty_like(padded) for _ in range(world)]
    dist.all_gather(parts, padded)
    return torch.cat([part[: int(size)] for part, size in zip(parts, sizes, strict=True)])


def _known(states: Mapping[str, TableState]) -> dict[str, tuple[torch.Size, torch.dtype]]:
    """Size and type of the tensors of all processes, in one order: optimizer state is known to a table's owner only."""
    mine = {name: (state.size, state.dtype) for name, state in states.items()}
    everyones: list[dict[str, tuple[torch.Size, torch.dtype]]] = [mine] * dist.get_world_size()
    if len(everyones) > 1:
        dist.all_gather_object(everyones, mine)
    return dict(sorted((name, known) for each in everyones for name, known in each.items()))


def _whole(state: TableState | None, size: torch.Size, dtype: torch.dtype) -> Tensor:
    result = torch.zeros(size, dtype=dtype)
    for offsets, part in state.parts if state is not None else ():
        result[_window(offsets, part)] = part.detach().cpu()
    if dist.get_world_size() > 1:
        dist.all_reduce(result)  # every element is held by one process and zero on the others
    return result


def _window(offsets: Sequence[int], part: Tensor) -> tuple[slice, ...]:
    return tuple(slice(offset, offset + length) for offset, length in zip(offsets, part.shape, strict=True))


@contextmanager
def _quiet_torchrec() -> Iterator[None]:
    """Without torchrec's log lines and warnings that nobody who uses this package could act on."""
    logger = logging.getLogger("torchrec")
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            # Building a sharded collection compiles TorchScript helpers, which torch has deprecated as a whole.
            warnings.filterwarnings("ignore", category=DeprecationWarning, module=r"torch\.jit.*")
            # torchrec's state still consists of ShardedTensors, which torch wants to replace.
            warnings.filterwarnings("ignore", message="Please use DTensor", category=FutureWarning)
            yield
    finally:
        logger.setLevel(level)
