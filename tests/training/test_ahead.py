"""Items made ahead come in order, errors come where their item would have, and no thread outlives its use."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator

import pytest

from ranker.errors import DataError
from training.ahead import Ahead


def threads() -> list[threading.Thread]:
    return [thread for thread in threading.enumerate() if thread.name == "ahead"]


@pytest.mark.parametrize("depth", [1, 3, 100])
def test_the_same_items(depth: int) -> None:
    for items in (list(range(57)), [], [None, 3, None]):
        with Ahead(iter(items), depth) as ahead:
            assert list(ahead) == items
            assert list(ahead) == []
    assert threads() == []


def test_thread_ends_when_the_consumer_stops() -> None:
    made, closed = 0, []

    def endless() -> Iterator[int]:
        nonlocal made
        try:
            while True:
                made += 1
                yield made
        finally:
            closed.append(threading.current_thread().name)

    with Ahead(endless(), depth=2) as items:
        assert [next(items), next(items)] == [1, 2]
        assert len(threads()) == 1
    assert threads() == []
    assert made <= 2 + 2 + 2  # taken, held, and in the making on both sides
    assert closed == ["ahead"]  # the generator was closed where it ran


def test_an_error_surfaces_where_its_item_would_have_come() -> None:
    def broken() -> Iterator[int]:
        yield 1
        raise DataError("column 'x' is missing")

    with Ahead(broken()) as items:
        assert next(items) == 1
        with pytest.raises(DataError, match="column 'x' is missing"):
            next(items)
        assert threads() == []
        with pytest.raises(StopIteration):
            next(items)


def test_an_error_of_the_consumer_ends_the_thread() -> None:
    def consume() -> None:
        with Ahead(iter(range(1000)), depth=1) as items:
            for item in items:
                if item == 3:
                    raise KeyError(item)

    with pytest.raises(KeyError):
        consume()
    assert threads() == []


def test_an_inner_thread_ends_with_the_outer_one() -> None:
    def nested() -> Iterator[int]:
        with Ahead(iter(range(1000)), depth=1) as inner:
            yield from inner

    with Ahead(nested(), depth=3) as items:
        assert next(items) == 0
        assert len(threads()) == 2
    assert threads() == []


def test_only_waiting_counts() -> None:
    started = time.perf_counter()
    with Ahead(iter([1, 2, 3])) as items:
        assert items.seconds_waited == 0
        assert list(items) == [1, 2, 3]
        assert 0 < items.seconds_waited < time.perf_counter() - started
