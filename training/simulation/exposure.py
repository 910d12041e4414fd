"""Who sees what, when: requests of several candidates, in blocks that each have a random stream of their own."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from training.simulation.config import SimulationConfig
from training.simulation.utility import Impressions
from training.simulation.world import DEVICES, Floats, Ints, Items, Users

SECONDS_PER_DAY = 86_400

# Traffic by hour: a low at night, a peak in the evening.
HOURLY_TRAFFIC: Floats = 1 + 0.7 * np.sin((np.arange(24) - 11) / 24 * 2 * np.pi)


@dataclass(frozen=True, slots=True)
class Exposure:
    """Draws impressions, by who is active, what is popular and what exists on the day."""

    config: SimulationConfig
    user_cdf: Floats
    item_weight_sums: Floats
    hour_cdf: Floats

    @classmethod
    def of(cls, config: SimulationConfig, users: Users, items: Items) -> Exposure:
        """Exposure in a world of these users and items."""
        traffic = np.concatenate([[0], np.cumsum(HOURLY_TRAFFIC)])
        return cls(config, np.cumsum(users.activity), np.cumsum(items.popularity), traffic / traffic[-1])

    def draw(
        self, day: int, first: int, num_requests: int, of_requests: int, rng: np.random.Generator
    ) -> tuple[Impressions, Ints]:
        """Draw requests `first` to `first + num_requests` of a day that has `of_requests`.

        Returns:
            The impressions, request by request, and each one's second of the day, ascending.
        """
        candidates = self.config.candidates_per_request
        # One request in each equal part of the day's traffic: times ascend across blocks without sorting the day.
        part = (first + np.arange(num_requests) + rng.random(num_requests)) / of_requests
        second = np.interp(part, self.hour_cdf, np.arange(25) * 3600.0).astype(np.int64)
        second = np.minimum(second, SECONDS_PER_DAY - 1)
        user = _pick(self.user_cdf, rng.random(num_requests))
        device = rng.choice(len(DEVICES), num_requests, p=[0.35, 0.4, 0.2, 0.05])
        device[rng.random(num_requests) < self.config.missing_rate] = -1
        request = np.repeat(np.arange(num_requests), candidates)
        rows = Impressions(
            day=np.full(len(request), day),
            user=user[request],
            item=self._candidates(day, num_requests, rng).reshape(-1),
            hour=second[request] // 3600,
            device=device[request],
        )
        return rows, second[request]

    def _candidates(self, day: int, num_requests: int, rng: np.random.Generator) -> Ints:
        """Different items per request, [num_requests, candidates_per_request]: what repeats is drawn again."""
        cdf = self.item_weight_sums[: self.config.items_on(day)]
        items = _pick(cdf, rng.random((num_requests, self.config.candidates_per_request)))
        while (repeated := _repeats(items)).any():
            items[repeated] = _pick(cdf, rng.random(int(repeated.sum())))
        return items


def _pick(cdf: Floats, uniform: Floats) -> Ints:
    # The product can round up to the last sum itself, which would be one past the end.
    found: Ints = np.searchsorted(cdf, uniform * cdf[-1], side="right")
    return np.minimum(found, len(cdf) - 1)


def _repeats(items: Ints) -> NDArray[np.bool_]:
    """True where an item stood in the same row before."""
    order = np.argsort(items, axis=1, kind="stable")
    ordered = np.take_along_axis(items, order, axis=1)
    same = np.zeros(items.shape, np.bool_)
    same[:, 1:] = ordered[:, 1:] == ordered[:, :-1]
    repeats = np.zeros(items.shape, np.bool_)
    np.put_along_axis(repeats, order, same, axis=1)
    return repeats
