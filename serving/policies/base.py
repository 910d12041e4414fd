"""The contract of a policy store: fusion policies by scene, every version of them kept."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from datetime import UTC, datetime

from pydantic import AwareDatetime, Field, ValidationError

from ranker.fusion import FusionPolicy
from ranker.schema import FrozenConfig
from serving.errors import PolicyConflict, PolicyStoreUnavailable


class SavedPolicy(FrozenConfig):
    """One version of the fusion policy of one scene, and who saved it when and why."""

    scene: str
    version: int = Field(ge=1, description="Counts from 1 in every scene, without gaps.")
    policy: FusionPolicy
    author: str
    comment: str = ""
    created_at: AwareDatetime


class PolicyStore(ABC):
    """Where fusion policies live. Append-only: a version once saved never changes.

    Every method raises `PolicyStoreUnavailable` when the store cannot be reached. None blocks the event loop.
    """

    @abstractmethod
    async def revision(self) -> int:
        """A number that grows with every save, in any process. Cheap: servers ask for it about once a second."""

    @abstractmethod
    async def live(self) -> Mapping[str, SavedPolicy]:
        """The newest version of every scene that has one."""

    @abstractmethod
    async def get(self, scene: str, version: int | None = None) -> SavedPolicy | None:
        """One version of a scene's policy, the newest by default; `None` if there is no such."""

    @abstractmethod
    async def history(self, scene: str, limit: int = 100) -> list[SavedPolicy]:
        """The newest `limit` versions of a scene, newest first; empty for a scene without a policy."""

    @abstractmethod
    async def save(
        self, scene: str, policy: FusionPolicy, *, author: str, comment: str = "", expected_version: int | None = None
    ) -> SavedPolicy:
        """Append a version.

        Args:
            scene: Whose policy it is.
            policy: What shall rank from now on.
            author: Who saves it.
            comment: Why.
            expected_version: The newest version that the author knows, 0 for none; `None` saves over whatever is there.

        Raises:
            PolicyConflict: The newest version is another one than expected. Nothing is saved.
        """

    @abstractmethod
    async def close(self) -> None:
        """Release what the store holds; it is not used afterwards."""


def saved_now(scene: str, version: int, policy: FusionPolicy, author: str, comment: str) -> SavedPolicy:
    """A version that is being saved at this moment."""
    return SavedPolicy(
        scene=scene, version=version, policy=policy, author=author, comment=comment, created_at=datetime.now(UTC)
    )


def conflict(scene: str, expected: int, actual: int) -> PolicyConflict:
    """The error of a save that expected another version."""
    return PolicyConflict(
        f"the policy of scene '{scene}' is at version {actual}, not {expected}: someone changed it meanwhile; "
        "read it again and repeat the change on what is there now"
    )


def parse_saved(stored: str | bytes) -> SavedPolicy:
    """One version as the store holds it.

    Raises:
        PolicyStoreUnavailable: It was not written by this program, or by a newer one.
    """
    try:
        return SavedPolicy.model_validate_json(stored)
    except ValidationError as exc:
        raise PolicyStoreUnavailable(
            f"policy store holds an entry that is no policy: {stored[:200]!r}; restore it, or use another store"
        ) from exc
