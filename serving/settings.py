"""What an operator may set, read once at start: `RANKER_*` environment variables, or arguments of `Settings`."""

from __future__ import annotations

from pathlib import Path

from pydantic import Field, SecretStr
from pydantic_settings import BaseSettings, SettingsConfigDict

from feature_store import StoreConfig
from ranker.bundle import Bundle
from ranker.schema import FrozenConfig
from serving.breaker import Breaker
from serving.engine import Engine, EngineName
from serving.fallback import Fallback
from serving.items import ItemTables
from serving.pace import Rest, no_rest
from serving.policies import PolicyStoreConfig, SQLitePolicyStore
from serving.tracing import Tracing


class Limits(FrozenConfig):
    """What one request may ask for."""

    max_candidates: int = Field(10_000, ge=1, description="Candidates of one request; more answer 413.")
    max_batch_requests: int = Field(100, ge=1, description="Requests in one body of /rank/batch; more answer 413.")
    max_body_bytes: int = Field(16 * 2**20, ge=1024, description="Size of a request body; more answers 413.")
    head_timeout_seconds: float = Field(
        10.0, gt=0, description="Longest time that the headers of a request may take to arrive."
    )
    body_timeout_seconds: float = Field(
        10.0, gt=0, description="Longest time that a body may take to arrive; a slower one answers 408."
    )
    timeout_ms: int = Field(
        5_000, ge=1, le=600_000, description="Deadline of a ranking whose caller sends no X-Request-Timeout-Ms."
    )
    max_waiting: int = Field(
        256, ge=1, description="Rankings that one worker may have taken in at a time; one more answers 503."
    )
    store_timeout_seconds: float = Field(
        1.0, gt=0, description="A slower feature store counts as unavailable: the request is ranked without it."
    )


class Outage(Breaker.Config):
    """What happens while the feature store fails."""

    known_users: int = Field(
        10_000, ge=0, description="Users whose last features each worker keeps, to rank with them meanwhile."
    )


class RequestLogSettings(FrozenConfig):
    """Where feedback and ranked requests are kept for the next training."""

    path: Path | None = Field(
        None, description="Folder of Parquet files; null: nothing is logged, /feedback answers 503."
    )
    rankings: bool = Field(True, description="Log what was ranked, beside the feedback to it.")
    max_pending: int = Field(
        500_000, ge=1, description="Events and ranked items that may wait in memory; more are refused, or dropped."
    )
    flush_seconds: float = Field(5.0, gt=0, description="Longest time that an event is in memory only.")


class Settings(BaseSettings):
    """All settings of one server.

    Example:
        `RANKER_REGISTRY=registry RANKER_STORE__BACKEND=lmdb RANKER_STORE__PATH=features ranker-serve run`
    """

    model_config = SettingsConfigDict(
        env_prefix="RANKER_", env_nested_delimiter="__", frozen=True, extra="forbid", hide_input_in_errors=True
    )

    registry: Path = Field(description="Folder of published bundles; the current one is served.")
    engine: EngineName = Field(
        "auto",
        description="What computes scores: aotinductor, the network that the bundle has compiled for this kind of "
        "machine; torchscript; auto: aotinductor where the bundle has it for this machine, else torchscript.",
    )
    store: StoreConfig = Field(description="Where the features of users and items are.")
    policies: PolicyStoreConfig = Field(
        default_factory=SQLitePolicyStore.Config, description="Where fusion policies are."
    )
    admin_token: SecretStr = Field(SecretStr(""), description="Bearer token of the admin routes; empty turns them off.")
    limits: Limits = Limits()
    outage: Outage = Outage()
    fallback: Fallback.Config = Fallback.Config()
    item_table: ItemTables.Config = ItemTables.Config()
    user_max_age_seconds: float | None = Field(
        None, gt=0, description="Features of users with an older event time, or none, count as missing; null: any age."
    )
    item_max_age_seconds: float | None = Field(None, gt=0, description="The same of items.")
    request_log: RequestLogSettings = RequestLogSettings()
    tracing: Tracing.Config = Tracing.Config()
    poll_seconds: float = Field(1.0, gt=0, description="How often the registry and the store's schema are looked at.")
    policy_poll_seconds: float = Field(
        0.5, gt=0, description="How soon a policy saved by another process is seen; own saves are seen at once."
    )
    access_log: bool = Field(True, description="One log line per request.")

    def make_engine(self, bundle: Bundle, rest: Rest = no_rest) -> Engine:
        """A bundle made ready for requests of the sizes that are allowed; rests between the steps of that."""
        return Engine(bundle, self.engine, self.limits.max_candidates, rest)
