"""Who and what there is: users, items, and how often each is seen."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from training.simulation.config import SimulationConfig

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

CATEGORIES = (
    *("books", "music", "games", "toys", "garden", "tools", "shoes", "shirts", "jackets", "bags"),
    *("phones", "laptops", "cameras", "kitchen", "furniture", "sports", "beauty", "food", "pets", "travel"),
)
SEGMENTS = ("students", "families", "seniors", "singles", "couples", "commuters", "collectors", "newcomers")
DEVICES = ("ios", "android", "desktop", "tablet")
NUM_CITIES, NUM_BRANDS, MAX_INTERESTS = 20, 40, 4


@dataclass(frozen=True, slots=True)
class Users:
    """Features of users as numbers. Codes are -1 and numbers NaN where the value is missing."""

    segment: Ints
    city: Ints
    age: Floats  # years
    orders: Floats  # in the last 90 days
    interests_UC: Floats  # 1 / number of interests where the user has that interest, else 0
    interests_missing: NDArray[np.bool_]
    activity: Floats  # weight of being the one who asks

    @classmethod
    def draw(cls, config: SimulationConfig, rng: np.random.Generator) -> Users:
        """Draw all users of a config."""
        n = config.num_users
        segment = rng.choice(len(SEGMENTS), n, p=_zipf(len(SEGMENTS), 0.5))
        age = np.clip(np.round(rng.normal(25 + 5 * segment, 8)), 16, 90)
        counts = rng.choice(MAX_INTERESTS + 1, n, p=[0.05, 0.25, 0.35, 0.2, 0.15])
        order = np.argsort(rng.random((n, len(CATEGORIES))), axis=1)  # a category's place in the user's list
        interests = order < counts[:, None]
        missing = rng.random(n) < config.missing_rate
        return cls(
            segment=segment,
            city=_hide(rng.choice(NUM_CITIES, n, p=_zipf(NUM_CITIES, 0.8)), -1, config, rng),
            age=_hide(age, np.nan, config, rng),
            orders=np.floor(rng.lognormal(1.0, 1.2, n)),
            interests_UC=np.where(missing[:, None], 0, interests / np.maximum(counts, 1)[:, None]),
            interests_missing=missing,
            activity=rng.permutation(_zipf(n, config.user_zipf)),
        )

    def table(self) -> pa.Table:
        """The raw features, one row per user, in the order of the codes."""
        rows, flat = np.nonzero(self.interests_UC)
        offsets = np.searchsorted(rows, np.arange(len(self.segment) + 1)).astype(np.int32)
        names = pa.array(CATEGORIES).take(pa.array(flat))
        return pa.table(
            {
                "user_id": numbered("u", np.arange(len(self.segment))),
                "segment": names_of(SEGMENTS, self.segment),
                "city": names_of([f"city_{i:02d}" for i in range(NUM_CITIES)], self.city),
                "age": pa.array(self.age, pa.int32(), mask=np.isnan(self.age), safe=False),
                "orders_90d": pa.array(self.orders, pa.int32(), safe=False),
                "interests": pa.ListArray.from_arrays(
                    pa.array(offsets), names, mask=pa.array(self.interests_missing, pa.bool_())
                ),
            }
        )


@dataclass(frozen=True, slots=True)
class Items:
    """Features of items as numbers, those of later days included. Codes are -1 and numbers NaN where missing."""

    category: Ints
    brand: Ints
    price: Floats  # in units of currency, skewed
    rating: Floats  # 1 to 5 stars
    popularity: Floats  # weight of being shown

    @classmethod
    def draw(cls, config: SimulationConfig, rng: np.random.Generator) -> Items:
        """Draw all items of a config, in the order in which they appear."""
        n = config.items_on(config.num_days - 1)
        brand = rng.choice(NUM_BRANDS, n, p=_zipf(NUM_BRANDS, 0.6))
        # A brand is at home in one category and now and then sells in another.
        home = rng.integers(len(CATEGORIES), size=NUM_BRANDS)
        category = np.where(rng.random(n) < 0.6, home[brand], rng.integers(len(CATEGORIES), size=n))
        price = rng.lognormal(rng.normal(3, 0.8, len(CATEGORIES))[category], 0.7)
        return cls(
            category=category,
            brand=_hide(brand, -1, config, rng),
            price=_hide(np.round(price, 2), np.nan, config, rng),
            rating=_hide(np.round(np.clip(rng.normal(3.8, 0.7, n), 1, 5), 1), np.nan, config, rng),
            popularity=rng.permutation(_zipf(n, config.item_zipf)),
        )

    def table(self) -> pa.Table:
        """The raw features, one row per item, in the order of the codes."""
        return pa.table(
            {
                "item_id": numbered("i", np.arange(len(self.category))),
                "category": names_of(CATEGORIES, self.category),
                "brand": names_of([f"brand_{i:02d}" for i in range(NUM_BRANDS)], self.brand),
                "price": pa.array(self.price, mask=np.isnan(self.price)),
                "rating": pa.array(self.rating, mask=np.isnan(self.rating)),
            }
        )


def numbered(prefix: str, numbers: Ints) -> pa.StringArray:
    """Ids as text: `u0`, `u1`, ..."""
    return pc.binary_join_element_wise(pa.scalar(prefix), pc.cast(pa.array(numbers), pa.string()), pa.scalar(""))


def names_of(names: Any, codes: Ints) -> pa.StringArray:
    """Codes as text, -1 as null."""
    return pa.array(names, pa.string()).take(pa.array(codes, mask=codes < 0))


def _zipf(n: int, exponent: float) -> Floats:
    weights: Floats = np.arange(1, n + 1, dtype=np.float64) ** -exponent
    return weights / float(weights.sum())


def _hide(values: Any, missing: float, config: SimulationConfig, rng: np.random.Generator) -> Any:
    return np.where(rng.random(len(values)) < config.missing_rate, missing, values).astype(values.dtype)
