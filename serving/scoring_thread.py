"""The thread that scores, beside the event loop that does all else."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from queue import SimpleQueue
from threading import Thread
from types import TracebackType
from typing import Any, NamedTuple, Self, TypeVar

T = TypeVar("T")


class _Task(NamedTuple):
    work: Callable[[], Any]
    done: asyncio.Future[Any]


class ScoringThread:
    """One thread, first in first out. Leaving the context waits for it to end, and for what it has been given.

    `run_in_executor` makes a future with a lock and a condition for the thread and a second one for the loop, and has
    them watch each other, while all other requests wait for the interpreter.
    """

    def __init__(self) -> None:
        self._tasks: SimpleQueue[_Task | None] = SimpleQueue()
        self._thread = Thread(target=self._serve, name="score")

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, exc: BaseException | None, at: TracebackType | None) -> None:
        self._tasks.put(None)
        self._thread.join()

    async def run(self, work: Callable[[], T]) -> T:
        """What some work returns, or raises. If nobody waits for it any more when its turn comes, it is not done."""
        done: asyncio.Future[T] = asyncio.get_running_loop().create_future()
        self._tasks.put(_Task(work, done))
        return await done

    def _serve(self) -> None:
        while (task := self._tasks.get()) is not None:
            _do(task)
            del task  # while this waits for the next one, it would keep all that was made for the last


def _do(task: _Task) -> None:
    if task.done.cancelled():
        return
    loop = task.done.get_loop()
    try:
        result = task.work()
    except Exception as exc:  # noqa: BLE001 - whatever it is, it is the caller's
        loop.call_soon_threadsafe(_fail, task.done, exc)
    else:
        loop.call_soon_threadsafe(_finish, task.done, result)


def _finish(done: asyncio.Future[Any], result: Any) -> None:
    if not done.done():  # else it was cancelled meanwhile
        done.set_result(result)


def _fail(done: asyncio.Future[Any], exc: Exception) -> None:
    if not done.done():
        done.set_exception(exc)
