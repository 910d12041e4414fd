"""Rankings go on one in each round of the event loop, in the order in which they came."""

from __future__ import annotations

import asyncio

from serving.stride import Stride

NUM_RANKINGS, CANCELLED = 5, 2


async def rounds(stride: Stride, gone_on: list[tuple[int, int]]) -> list[asyncio.Task[None]]:
    """Rankings that note themselves and the round in which they went on, and a clock that counts rounds."""
    now = [0]

    def tick() -> None:
        now[0] += 1
        asyncio.get_running_loop().call_soon(tick)

    async def rank(number: int) -> None:
        await stride.turn()
        gone_on.append((number, now[0]))

    tick()
    return [asyncio.create_task(rank(number)) for number in range(NUM_RANKINGS)]


async def test_one_goes_on_in_a_round() -> None:
    gone_on: list[tuple[int, int]] = []
    await asyncio.gather(*await rounds(Stride(), gone_on))
    assert [number for number, _ in gone_on] == list(range(NUM_RANKINGS))
    assert len({when for _, when in gone_on}) == NUM_RANKINGS


async def test_who_is_cancelled_holds_up_nobody() -> None:
    gone_on: list[tuple[int, int]] = []
    stride = Stride()
    tasks = await rounds(stride, gone_on)
    await asyncio.sleep(0)
    tasks[CANCELLED].cancel()
    await asyncio.wait(tasks)
    assert [number for number, _ in gone_on] == [number for number in range(NUM_RANKINGS) if number != CANCELLED]
    await asyncio.wait_for(stride.turn(), 5)


async def test_alone_nobody_waits() -> None:
    stride = Stride()
    for _ in range(3):
        turn = asyncio.ensure_future(stride.turn())
        await asyncio.sleep(0)
        assert turn.done()
        await asyncio.sleep(0)
