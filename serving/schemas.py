"""The wire format: what a ranking request and its answer look like.

Bodies of /rank are decoded by msgspec: types, unknown keys and lengths are checked while parsing, at a fraction of the
time that building validated objects takes. What depends on the live model (names and types of features) is in `values`.
"""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Literal, final

import msgspec
from msgspec import UNSET, Meta, Struct, UnsetType
from pydantic import AwareDatetime, Field

from ranker.fusion import Term
from ranker.schema import FrozenConfig, Name

Text = Annotated[str, Meta(min_length=1, max_length=256)]
Whole = Annotated[int, Meta(ge=-(2**63), le=2**63 - 1)]
EntityId = Text | Whole
SCENE_PATTERN = r"^[A-Za-z0-9_.\-]{1,100}$"
Scene = Annotated[str, Meta(pattern=SCENE_PATTERN)]
RequestId = Annotated[str, Meta(min_length=1, max_length=128)]
UnixSeconds = Annotated[float, Meta(ge=0, lt=253_402_300_800)]  # up to the year 9999
Scalar = bool | int | float | str | None
Value = bool | int | float | str | list[Scalar] | None

DEFAULT_SCENE = "default"


# gc=False: what JSON holds refers to nothing around it, and following hundreds of objects per request takes time.


@final
class Candidate(Struct, frozen=True, forbid_unknown_fields=True, gc=False):
    """A candidate that brings values of its own: `features` replace, by column, what the store has."""

    item_id: EntityId
    features: dict[str, Value] = {}


class RankRequest(Struct, frozen=True, forbid_unknown_fields=True, gc=False):
    """Rank these candidates for this user in this context."""

    candidates: Annotated[list[EntityId | Candidate], Meta(min_length=1)]
    user_id: EntityId | None = None
    context: dict[str, Value] = {}
    top_k: Annotated[int, Meta(ge=1)] | None = None
    scene: Scene = DEFAULT_SCENE
    explain: bool = False
    request_id: RequestId | None = None


class TermExplanation(Struct, frozen=True):
    """What one term of the policy adds to a score: contribution = weight * value."""

    output: str
    weight: float
    value: float
    contribution: float


class Explanation(Struct, frozen=True):
    """Why a candidate has its score: the terms, which features had no value, and which the request brought."""

    terms: list[TermExplanation]
    missing: list[str]
    overridden: list[str]


class RankedItem(Struct, frozen=True):
    """One place of the ranking."""

    item_id: EntityId
    score: float
    outputs: dict[str, float]
    explain: Explanation | UnsetType = UNSET


class Missing(Struct, frozen=True):
    """What the store had no features for: the user (or none was named), and how many of the candidates."""

    user: bool
    items: int


class RankResponse(Struct, frozen=True):
    """The ranking: score descending, ties by the candidates' order."""

    request_id: str
    model_version: str
    policy_version: int
    scene: str
    experiment: str | None
    variant: str | None
    ranking: list[RankedItem]
    degraded: list[str]
    missing: Missing


class BatchRequest(Struct, frozen=True, forbid_unknown_fields=True):
    """Many rankings in one body. Each request is decoded by itself, so that a bad one spoils no other."""

    requests: Annotated[list[msgspec.Raw], Meta(min_length=1)]


class BatchRequestSchema(Struct, frozen=True, forbid_unknown_fields=True):
    """Many rankings in one body."""

    requests: Annotated[list[RankRequest], Meta(min_length=1)]


class Feedback(Struct, frozen=True, forbid_unknown_fields=True):
    """Something that happened to a ranked item: a view, a click, a purchase."""

    request_id: RequestId
    item_id: EntityId
    event: Annotated[str, Meta(pattern=r"^[A-Za-z0-9_.\-]{1,64}$", description="Its name, like click.")]
    timestamp: Annotated[datetime, Meta(tz=True)] | UnixSeconds | None = None


# One event, or several.
FeedbackBody = Feedback | Annotated[list[Feedback], Meta(min_length=1, max_length=10_000)]


class Accepted(Struct, frozen=True):
    """How many events were taken in."""

    accepted: int


class TermUpdate(FrozenConfig):
    """One term of a new policy. Bounds left out are those of the bundle; given ones may only narrow them."""

    output: Name
    weight: float = Field(strict=True, allow_inf_nan=False)
    min_weight: float | None = Field(None, strict=True, allow_inf_nan=False)
    max_weight: float | None = Field(None, strict=True, allow_inf_nan=False)


class PolicyUpdate(FrozenConfig):
    """A new policy for a scene, who makes it, and why."""

    terms: tuple[TermUpdate, ...] = Field(min_length=1, max_length=100)
    author: str = Field(min_length=1, max_length=200)
    comment: str = Field("", max_length=2000)


class PolicyRollback(FrozenConfig):
    """Which version's weights shall rank again; they become a new version."""

    version: int = Field(ge=1, le=2**53, strict=True)
    author: str = Field(min_length=1, max_length=200)
    comment: str = Field("", max_length=2000)


class PolicyView(FrozenConfig):
    """The policy of a scene. Version 0 is the default that the live bundle brings; nobody saved that one."""

    scene: str
    version: int
    terms: tuple[Term, ...]
    author: str | None = None
    comment: str = ""
    created_at: AwareDatetime | None = None


class ModelView(FrozenConfig):
    """One published bundle."""

    version: str
    created_at: AwareDatetime | None
    current: bool = Field(description="Whether the registry says that this one is to be served.")
    live: bool = Field(description="Whether this server serves it.")
    problem: str | None = Field(description="Why it cannot be read, if it cannot.")


class Readiness(FrozenConfig):
    """A server that can rank: with which model, and what is wrong although it can."""

    status: Literal["ready"] = "ready"
    model_version: str
    warnings: tuple[str, ...] = Field(description="A refused bundle, a store that is away, policies that are stale.")
