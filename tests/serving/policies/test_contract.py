"""What every policy store promises, on SQLite and on a real Redis."""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Literal, get_args

import pytest

from ranker.fusion import FusionPolicy, Term
from serving.errors import PolicyConflict, PolicyStoreUnavailable
from serving.policies import PolicyStore, PolicyStoreConfig, RedisPolicyStore, SQLitePolicyStore

Config = SQLitePolicyStore.Config | RedisPolicyStore.Config
BACKENDS = [kind.model_fields["backend"].default for kind in get_args(get_args(PolicyStoreConfig)[0])]


def policy(weight: float) -> FusionPolicy:
    """A policy that its weight tells from others."""
    return FusionPolicy(terms=(Term(output="ctr", weight=weight), Term(output="cvr", weight=0.125)))


@pytest.fixture(params=BACKENDS)
def config(request: pytest.FixtureRequest, tmp_path: Path, redis_url: str) -> Config:
    """Where a fresh store is."""
    if request.param == "redis":
        return RedisPolicyStore.Config(url=redis_url, prefix=secrets.token_hex(4))
    return SQLitePolicyStore.Config(path=tmp_path / "deep" / "policies.sqlite")


@pytest.fixture
async def store(config: Config) -> AsyncIterator[PolicyStore]:
    """A fresh store."""
    store = config.build()
    yield store
    await store.close()


async def test_an_empty_store_has_nothing(store: PolicyStore) -> None:
    assert await store.get("home") is None
    assert await store.history("home") == []
    assert dict(await store.live()) == {}
    assert await store.revision() == 0


async def test_what_is_saved_is_read_back_whole(store: PolicyStore) -> None:
    saved = await store.save("home", policy(0.3), author="Ånn", comment="“why”\n", expected_version=0)
    assert (saved.scene, saved.version, saved.author, saved.comment) == ("home", 1, "Ånn", "“why”\n")
    assert saved.policy == policy(0.3)
    assert saved.created_at.tzinfo is not None
    assert await store.get("home") == saved
    assert await store.get("home", 1) == saved


async def test_versions_count_per_scene_and_history_keeps_them(store: PolicyStore) -> None:
    for scene, num_versions in (("home", 3), ("cart", 2)):
        for number in range(num_versions):
            saved = await store.save(scene, policy(number / 8), author="a", expected_version=number)
            assert saved.version == number + 1
    assert [entry.version for entry in await store.history("home")] == [3, 2, 1]
    assert [entry.version for entry in await store.history("home", limit=2)] == [3, 2]
    live = await store.live()
    assert {scene: entry.version for scene, entry in live.items()} == {"home": 3, "cart": 2}
    second = await store.get("home", 2)
    assert second is not None
    assert second.policy == policy(1 / 8)
    for unknown in (0, -1, 4):
        assert await store.get("home", unknown) is None


@pytest.mark.parametrize("expected", [0, 1, 3, 99])
async def test_a_save_on_top_of_another_version_is_refused(store: PolicyStore, expected: int) -> None:
    for number in range(2):
        await store.save("home", policy(0.5), author="a", expected_version=number)
    revision = await store.revision()
    with pytest.raises(PolicyConflict, match=f"at version 2, not {expected}"):
        await store.save("home", policy(0.25), author="b", expected_version=expected)
    assert len(await store.history("home")) == 2
    assert await store.revision() == revision


async def test_a_save_without_expectation_goes_on_top(store: PolicyStore) -> None:
    versions = await asyncio.gather(*(store.save("home", policy(n / 16), author=f"a{n}") for n in range(9)))
    assert sorted(saved.version for saved in versions) == list(range(1, 10))


async def test_of_concurrent_saves_on_one_version_one_wins(store: PolicyStore, config: Config) -> None:
    other = config.build()
    saves = [
        (store if n % 2 else other).save("home", policy(n / 16), author=f"a{n}", expected_version=0) for n in range(8)
    ]
    outcomes = await asyncio.gather(*saves, return_exceptions=True)
    await other.close()
    assert sum(not isinstance(outcome, BaseException) for outcome in outcomes) == 1
    assert sum(isinstance(outcome, PolicyConflict) for outcome in outcomes) == 7
    assert len(await store.history("home")) == 1


async def test_many_servers_may_begin_with_a_new_file_at_once(tmp_path: Path) -> None:
    for attempt in range(100):
        stores = [SQLitePolicyStore.Config(path=tmp_path / f"{attempt}.sqlite").build() for _ in range(6)]
        assert await asyncio.gather(*(store.revision() for store in stores)) == [0] * 6
        await asyncio.gather(*(store.close() for store in stores))


async def test_another_process_sees_a_save_and_a_new_revision(store: PolicyStore, config: Config) -> None:
    other = config.build()
    before = await other.revision()
    saved = await store.save("home", policy(0.75), author="a")
    assert await other.revision() > before
    assert (await other.live())["home"] == saved
    await other.close()


async def test_policies_outlive_the_store(store: PolicyStore, config: Config) -> None:
    saved = await store.save("home", policy(0.75), author="a")
    again = config.build()
    assert await again.get("home") == saved
    await again.close()


async def test_installations_do_not_see_each_other(redis_url: str) -> None:
    one, two = (RedisPolicyStore.Config(url=redis_url, prefix=secrets.token_hex(4)).build() for _ in range(2))
    await one.save("home", policy(0.5), author="a")
    assert await two.get("home") is None
    await one.close()
    await two.close()


def unreachable(kind: Literal["redis", "sqlite", "garbage"], tmp_path: Path) -> Config:
    """A store that cannot work."""
    if kind == "redis":
        return RedisPolicyStore.Config(url="redis://127.0.0.1:1/0")
    (tmp_path / "file").write_text("this is no database, whatever it is; " * 100)
    inside = tmp_path / "file" / "policies.sqlite"
    return SQLitePolicyStore.Config(path=inside if kind == "sqlite" else tmp_path / "file")


@pytest.mark.parametrize("kind", ["redis", "sqlite", "garbage"])
async def test_a_store_that_cannot_be_reached_says_so(
    kind: Literal["redis", "sqlite", "garbage"], tmp_path: Path
) -> None:
    store = unreachable(kind, tmp_path).build()
    for attempt in (store.revision(), store.live(), store.get("home"), store.save("home", policy(0.5), author="a")):
        with pytest.raises(PolicyStoreUnavailable, match="RANKER_POLICIES"):
            await attempt
    await store.close()
