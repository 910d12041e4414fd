"""Settings come from arguments or from the environment, and are checked at once."""

from __future__ import annotations

from pathlib import Path

import pytest
from pydantic import ValidationError

import serving
from feature_store import RedisStore
from serving import Settings
from serving.policies import RedisPolicyStore, SQLitePolicyStore


@pytest.fixture
def environment(monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    """The environment of a complete server."""
    monkeypatch.setenv("RANKER_REGISTRY", "bundles")
    monkeypatch.setenv("RANKER_STORE__BACKEND", "redis")
    monkeypatch.setenv("RANKER_STORE__URL", "redis://cache:6379/2")
    return monkeypatch


def test_the_environment_says_everything(environment: pytest.MonkeyPatch) -> None:
    environment.setenv("RANKER_POLICIES__BACKEND", "redis")
    environment.setenv("RANKER_POLICIES__URL", "redis://cache:6379/3")
    environment.setenv("RANKER_ADMIN_TOKEN", "secret")
    environment.setenv("RANKER_LIMITS__MAX_CANDIDATES", "77")
    settings = Settings()
    assert settings.registry == Path("bundles")
    assert isinstance(settings.store, RedisStore.Config)
    assert isinstance(settings.policies, RedisPolicyStore.Config)
    assert settings.limits.max_candidates == 77
    assert settings.limits.max_batch_requests == 100
    assert "secret" not in repr(settings)


def test_policies_are_embedded_by_default(environment: pytest.MonkeyPatch) -> None:
    assert Settings().policies == SQLitePolicyStore.Config(path=Path("policies.sqlite"))


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("RANKER_POLICIES__BACKEND", "mysql"),
        ("RANKER_LIMITS__MAX_BODY_BYTES", "ten"),
        ("RANKER_LIMITS__MAX_BODY", "10"),
        ("RANKER_POLL_SECONDS", "0"),
        ("RANKER_REQUEST_LOG__FLUSH_SECONDS", "-1"),
    ],
)
def test_a_wrong_value_is_refused(environment: pytest.MonkeyPatch, name: str, value: str) -> None:
    environment.setenv(name, value)
    with pytest.raises(ValidationError, match=name.split("__")[0].removeprefix("RANKER_").lower()):
        Settings()


def test_settings_do_not_change(environment: pytest.MonkeyPatch) -> None:
    with pytest.raises(ValidationError, match="frozen"):
        Settings().poll_seconds = 5.0  # type: ignore[misc]


def test_the_package_exports_what_it_lists() -> None:
    for package in (serving, serving.policies):
        for name in package.__all__:
            assert getattr(package, name)
