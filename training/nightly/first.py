"""Work that one process does for all: read a record, judge, publish."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import TypeVar

import torch.distributed as dist

from training.errors import NightlyError

Result = TypeVar("Result")


def first_process() -> bool:
    """Whether this process is the one that writes: the only one, or torchrun's first."""
    return dist.get_rank() == 0 if dist.is_initialized() else os.environ.get("RANK", "0") == "0"


def on_first(work: Callable[[], Result]) -> Result:
    """Do the work on the first process and give its result to all; every process has to call this.

    Raises:
        Exception: What the work raised, there; elsewhere `NightlyError`, so that no process waits for one that is gone.
    """
    if dist.get_world_size() == 1:
        return work()
    told: list[tuple[bool, object]] = [(False, "")]
    error: Exception | None = None
    if dist.get_rank() == 0:
        try:
            told = [(True, work())]
        except Exception as exc:  # noqa: BLE001 - raised again below, once the others know
            error, told = exc, [(False, str(exc))]
    dist.broadcast_object_list(told)
    if error is not None:
        raise error
    succeeded, result = told[0]
    if not succeeded:
        raise NightlyError(f"the first process failed: {result}")
    return result  # type: ignore[return-value]  # what the first process returned
