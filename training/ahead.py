"""Items made in a background thread while the consumer is busy with those before."""

from __future__ import annotations

import queue
import threading
import time
from collections.abc import Iterator
from contextlib import suppress
from types import TracebackType
from typing import Generic, Self, TypeVar

Item = TypeVar("Item")

_STOP_SECONDS = 0.1  # between two looks of a full producer at whether anybody still wants its items


class Ahead(Generic[Item]):
    """The same items, made in a background thread at most `depth` ahead of the consumer.

    An error in the thread is raised where its item would have come. Closing ends the thread, and the generator that it
    runs; leaving the `with` block closes.

    Args:
        items: A generator; the thread alone may run it from here on.
        depth: Items that wait for the consumer at most.

    Example:
        >>> with Ahead(number * number for number in range(4)) as squares:
        ...     print(list(squares))
        [0, 1, 4, 9]
    """

    def __init__(self, items: Iterator[Item], depth: int = 4) -> None:
        self._items = items
        self._buffer: queue.Queue[tuple[Item] | BaseException | None] = queue.Queue(maxsize=depth)
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._produce, name="ahead", daemon=True)
        self._ended = False
        self.seconds_waited = 0.0
        self._thread.start()

    def __iter__(self) -> Self:
        """Itself: items come once."""
        return self

    def __next__(self) -> Item:
        """The next item; the time until it is there is added to `seconds_waited`."""
        if self._ended:
            raise StopIteration
        started = time.perf_counter()
        entry = self._buffer.get()
        self.seconds_waited += time.perf_counter() - started
        if isinstance(entry, tuple):
            return entry[0]
        self.close()
        raise StopIteration if entry is None else entry

    def __enter__(self) -> Self:
        """Itself."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """Close."""
        self.close()

    def close(self) -> None:
        """Make no more items, and wait until the thread is gone."""
        self._ended = True
        self._stopped.set()
        self._thread.join()

    def _produce(self) -> None:
        ending: BaseException | None = None
        try:
            for item in self._items:
                self._put((item,))
                if self._stopped.is_set():
                    break
        except BaseException as exc:  # noqa: BLE001 - handed over whole and raised in the consumer's thread
            ending = exc
        finally:
            if (close := getattr(self._items, "close", None)) is not None:
                close()
        self._put(ending)

    def _put(self, entry: tuple[Item] | BaseException | None) -> None:
        while not self._stopped.is_set():
            with suppress(queue.Full):
                self._buffer.put(entry, timeout=_STOP_SECONDS)
                return
