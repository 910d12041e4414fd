"""How much a server can take: rates that rise until it falls behind."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from serving.bench.outcomes import Summary

_KEEPS_UP = 0.95  # share of the offered requests that it has to rank
_NUM_HALVINGS = 3


async def find_peak(
    run: Callable[[float], Awaitable[Summary]], first_per_second: float, most_per_second: float
) -> Summary:
    """The run with the highest rate at which the server still ranked what it was asked.

    The rate is doubled until it does not, then the place between is halved a few times. The first run is the answer if
    the server could not even keep up with that.

    Args:
        run: Offers that many requests per second for a while.
        first_per_second: Where to begin.
        most_per_second: Where to end in any case.
    """
    best = await run(first_per_second)
    if not _keeps_up(best):
        return best
    low = high = first_per_second
    while high < most_per_second:
        high = min(2 * low, most_per_second)
        if not _keeps_up(tried := await run(high)):
            break
        best, low = tried, high
    for _ in range(_NUM_HALVINGS if low < high else 0):
        middle = (low + high) / 2
        if _keeps_up(tried := await run(middle)):
            best, low = tried, middle
        else:
            high = middle
    return best


def _keeps_up(summary: Summary) -> bool:
    return summary.ranked_per_second >= _KEEPS_UP * summary.offered_per_second
