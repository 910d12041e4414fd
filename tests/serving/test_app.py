"""What runs beside the requests ends with the server."""

from __future__ import annotations

import asyncio

from serving.app import _repeating


async def test_a_job_that_swallows_a_cancellation_ends_all_the_same() -> None:
    swallowed, started = 0, asyncio.Event()

    async def job() -> None:
        nonlocal swallowed
        started.set()
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            if swallowed:
                raise
            swallowed += 1

    async with asyncio.timeout(30):
        async with _repeating((0.0, job)):
            await started.wait()
    assert swallowed == 1


async def test_a_job_that_fails_runs_again() -> None:
    runs = 0
    again = asyncio.Event()

    async def job() -> None:
        nonlocal runs
        runs += 1
        if runs == 1:
            raise OSError("this once")
        again.set()

    async with _repeating((0.0, job)):
        await asyncio.wait_for(again.wait(), 30)
    assert runs > 1
