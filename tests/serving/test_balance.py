"""A worker with much to do lets connections go, now and then, if another one may take them."""

from __future__ import annotations

import pytest

from serving.balance import Balance
from serving.queue import Queue

MANY, FEW = 20, 1


@pytest.mark.parametrize(
    ("waiting", "alone", "lets_go"), [(MANY, False, True), (FEW, False, False), (MANY, True, False)]
)
def test_who_is_busy_and_not_alone_lets_connections_go(waiting: int, alone: bool, lets_go: bool) -> None:
    queue = Queue(100)
    with queue.hold(waiting):
        assert Balance(queue, alone).lets_go() == lets_go


def test_one_goes_in_a_while() -> None:
    now = [100.0]
    queue = Queue(100)
    balance = Balance(queue, alone=False, clock=lambda: now[0])
    gone = 0
    with queue.hold(MANY):
        for _ in range(1000):
            gone += balance.lets_go()
            now[0] += 0.001
    assert 15 <= gone <= 20
