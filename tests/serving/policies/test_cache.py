"""The policies that a server ranks with: fresh, and usable while the store is away."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from pathlib import Path

import pytest

from ranker.fusion import FusionPolicy, Term
from serving.errors import PolicyStoreUnavailable
from serving.policies import Choice, PolicyCache, SavedPolicy, SQLitePolicyStore

DEFAULT = FusionPolicy(terms=(Term(output="ctr", weight=1.0),))
OUTPUTS = ("ctr", "cvr")


def policy(output: str, weight: float = 0.5) -> FusionPolicy:
    """A policy of one term."""
    return FusionPolicy(terms=(Term(output=output, weight=weight),))


class Flaky(SQLitePolicyStore):
    """A store that a test can take away, and that counts its full reads."""

    away = False
    num_reads = 0

    async def revision(self) -> int:
        """See `PolicyStore`."""
        if self.away:
            raise PolicyStoreUnavailable("away")
        return await super().revision()

    async def live(self) -> Mapping[str, SavedPolicy]:
        """See `PolicyStore`."""
        self.num_reads += 1
        return await super().live()


@pytest.fixture
async def store(tmp_path: Path) -> AsyncIterator[Flaky]:
    """A store on a fresh file."""
    store = Flaky(SQLitePolicyStore.Config(path=tmp_path / "policies.sqlite"))
    yield store
    await store.close()


async def test_a_scene_without_a_policy_gets_the_default(store: Flaky) -> None:
    cache = PolicyCache(store)
    await cache.refresh()
    assert cache.choose("home", DEFAULT, OUTPUTS) == Choice(DEFAULT, 0, ())


async def test_an_own_save_is_seen_at_once_and_others_after_a_refresh(store: Flaky) -> None:
    mine, theirs = PolicyCache(store), PolicyCache(store)
    await theirs.refresh()
    await mine.save("home", policy("cvr"), author="a", expected_version=0)
    assert mine.choose("home", DEFAULT, OUTPUTS) == Choice(policy("cvr"), 1, ())
    assert theirs.choose("home", DEFAULT, OUTPUTS).version == 0
    await theirs.refresh()
    assert theirs.choose("home", DEFAULT, OUTPUTS).version == 1


async def test_a_refresh_reads_all_only_when_something_changed(store: Flaky) -> None:
    cache = PolicyCache(store)
    for _ in range(3):
        await cache.refresh()
    assert store.num_reads == 1
    await store.save("home", policy("ctr"), author="a")
    for _ in range(3):
        await cache.refresh()
    assert store.num_reads == 2


async def test_a_policy_for_another_model_falls_back_and_says_so(store: Flaky) -> None:
    cache = PolicyCache(store)
    await cache.save("home", policy("dwell"), author="a")
    assert cache.choose("home", DEFAULT, OUTPUTS) == Choice(DEFAULT, 0, ("policy_incompatible",))
    assert cache.choose("home", DEFAULT, (*OUTPUTS, "dwell")).version == 1


async def test_a_store_that_was_never_reached_leaves_the_default(store: Flaky) -> None:
    cache = PolicyCache(store)
    store.away = True
    await cache.refresh()
    assert cache.choose("home", DEFAULT, OUTPUTS) == Choice(DEFAULT, 0, ("policies_unavailable",))
    store.away = False
    await cache.refresh()
    assert cache.trouble is None


async def test_a_store_that_goes_away_leaves_what_was_known(store: Flaky) -> None:
    cache = PolicyCache(store)
    await cache.refresh()
    await cache.save("home", policy("cvr"), author="a")
    store.away = True
    await cache.refresh()
    assert cache.choose("home", DEFAULT, OUTPUTS) == Choice(policy("cvr"), 1, ("policies_stale",))
