"""How much an impression appeals: main effects, tastes for kinds of items, circumstances, drift."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from training.simulation.config import SimulationConfig
from training.simulation.world import CATEGORIES, DEVICES, NUM_BRANDS, NUM_CITIES, SEGMENTS, Floats, Ints, Items, Users

TASTE_DIM = 2

# Variance of each part of an appeal. Most of it rests on features of few values, so that a log of ordinary size
# teaches it; the parts that only an id carries are small, but a model without ids cannot have them.
USER_SHARE, USER_ID_SHARE, ITEM_SHARE, ITEM_ID_SHARE = 0.30, 0.005, 0.50, 0.01
TASTE_SHARE, CONTEXT_SHARE, CONTEXT_TASTE_SHARE = 0.05, 0.13, 0.005


@dataclass(frozen=True, slots=True)
class Impressions:
    """Impressions as codes: one number each for day, user, item, hour and device (-1: missing)."""

    day: Ints
    user: Ints
    item: Ints
    hour: Ints
    device: Ints


@dataclass(frozen=True, slots=True)
class Utility:
    """Appeal of any impression, as a sum of tables looked up by user, item and context."""

    user: Floats
    item: Floats
    user_taste_UR: Floats  # R: dimensions of taste
    item_taste_IR: Floats
    hour: Floats
    device: Floats  # the last entry is that of a missing device, which code -1 finds
    device_category_DC: Floats
    drift_TC: Floats  # T: days; C: categories
    category: Ints  # of each item

    @classmethod
    def draw(cls, config: SimulationConfig, users: Users, items: Items, rng: np.random.Generator) -> Utility:
        """Draw one taste of the world, about 1 in standard deviation over impressions."""
        segment_taste = rng.normal(size=(len(SEGMENTS), TASTE_DIM))
        category_taste = rng.normal(size=(len(CATEGORIES), TASTE_DIM))
        brand_taste = rng.normal(size=(NUM_BRANDS + 1, TASTE_DIM))
        # Interests and categories share their taste vectors: who is interested in a category likes its items.
        user_taste = segment_taste[users.segment] + users.interests_UC @ category_taste
        item_taste = category_taste[items.category] + 0.3 * brand_taste[items.brand]
        thrift = rng.normal(size=len(SEGMENTS))[users.segment]  # how much a high price puts this user off
        steps = rng.normal(size=(config.num_days, len(CATEGORIES))) * config.drift
        steps[0] = 0
        hours = np.arange(24) / 24 * 2 * np.pi
        return cls(
            user=_user_effects(users, rng),
            item=_item_effects(items, rng),
            user_taste_UR=np.column_stack([user_taste, thrift]) * np.sqrt(TASTE_SHARE / (2 * TASTE_DIM + 1)),
            item_taste_IR=np.column_stack([item_taste, -_standard(np.log1p(items.price))]),
            hour=_standard(np.sin(hours + rng.uniform(0, 2 * np.pi))) * np.sqrt(CONTEXT_SHARE / 2),
            device=_standard(rng.normal(size=len(DEVICES) + 1)) * np.sqrt(CONTEXT_SHARE / 2),
            device_category_DC=rng.normal(size=(len(DEVICES) + 1, len(CATEGORIES))) * np.sqrt(CONTEXT_TASTE_SHARE),
            drift_TC=np.cumsum(steps, axis=0),
            category=items.category,
        )

    def __call__(self, rows: Impressions) -> Floats:
        """Appeal of each impression."""
        category = self.category[rows.item]
        taste = (self.user_taste_UR[rows.user] * self.item_taste_IR[rows.item]).sum(axis=1)
        context = self.hour[rows.hour] + self.device[rows.device] + self.device_category_DC[rows.device, category]
        total: Floats = (
            self.user[rows.user] + self.item[rows.item] + taste + context + self.drift_TC[rows.day, category]
        )
        return total


def _user_effects(users: Users, rng: np.random.Generator) -> Floats:
    peak = rng.uniform(30, 60)
    shown = (
        0.6 * _standard(rng.normal(size=len(SEGMENTS))[users.segment])
        + 0.5 * _standard(-np.abs(users.age - peak))
        + 0.4 * _standard(np.log1p(users.orders)) * rng.choice([-1, 1])
        + 0.4 * _standard(rng.normal(size=NUM_CITIES + 1)[users.city])
    )
    hidden = rng.normal(size=len(shown)) * math.sqrt(USER_ID_SHARE)
    return _standard(shown) * math.sqrt(USER_SHARE) + hidden


def _item_effects(items: Items, rng: np.random.Generator) -> Floats:
    shown = (
        0.7 * _standard(rng.normal(size=len(CATEGORIES))[items.category])
        + 0.5 * _standard(rng.normal(size=NUM_BRANDS + 1)[items.brand])
        + 0.4 * _standard(items.rating)
        - 0.4 * _standard(np.log1p(items.price))
    )
    hidden = rng.normal(size=len(shown)) * math.sqrt(ITEM_ID_SHARE)
    return _standard(shown) * math.sqrt(ITEM_SHARE) + hidden


def _standard(values: Floats) -> Floats:
    """Zero mean and unit variance over the known values; a missing value is an average one."""
    known = np.where(np.isnan(values), np.nanmean(values), values)
    spread = known.std()
    return (known - known.mean()) / spread if spread > 0 else np.zeros_like(known)
