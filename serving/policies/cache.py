"""The policies that one server ranks with: in memory, so that no request waits for the policy store."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Collection, Mapping
from typing import Literal, NamedTuple

from ranker.errors import FusionError
from ranker.fusion import FusionPolicy
from serving.errors import PolicyStoreUnavailable
from serving.policies.base import PolicyStore, SavedPolicy

logger = logging.getLogger(__name__)

Degradation = Literal["policies_unavailable", "policies_stale", "policy_incompatible"]


class Choice(NamedTuple):
    """What ranks a request: a policy, its version (0 is the bundle's own default), and what is not as it should be."""

    policy: FusionPolicy
    version: int
    degraded: tuple[Degradation, ...]


class PolicyCache:
    """The newest policy of every scene, as of the last `refresh`; saves of this process are seen at once."""

    def __init__(self, store: PolicyStore) -> None:
        self.store = store
        self._live: Mapping[str, SavedPolicy] = {}
        self._revision = -1  # none read yet
        self._trouble: Degradation | None = None
        self._lock = asyncio.Lock()  # so that a slow read never overwrites a save that came after it

    async def refresh(self) -> None:
        """Take over what changed in the store. Called about once a second; costs one small read if nothing did."""
        try:
            async with self._lock:
                revision = await self.store.revision()
                if revision != self._revision:
                    self._live = await self.store.live()
                    self._revision = revision
        except PolicyStoreUnavailable as exc:
            trouble: Degradation = "policies_unavailable" if self._revision < 0 else "policies_stale"
            if self._trouble != trouble:
                logger.warning("policies cannot be read", extra={"reason": str(exc), "degraded": trouble})
            self._trouble = trouble
        else:
            self._trouble = None

    async def save(
        self, scene: str, policy: FusionPolicy, *, author: str, comment: str = "", expected_version: int | None = None
    ) -> SavedPolicy:
        """Save a version; the next request that this process answers is ranked by it. See `PolicyStore.save`."""
        saved = await self.store.save(scene, policy, author=author, comment=comment, expected_version=expected_version)
        async with self._lock:
            if (known := self._live.get(scene)) is None or known.version < saved.version:
                self._live = {**self._live, scene: saved}
        logger.info("policy saved", extra={"scene": scene, "version": saved.version, "author": author})
        return saved

    @property
    def trouble(self) -> Degradation | None:
        """What is wrong with the store, if anything is."""
        return self._trouble

    def choose(self, scene: str, default: FusionPolicy, output_names: Collection[str]) -> Choice:
        """The policy that ranks a scene: its own, or the bundle's default where it has none that the model can serve.

        Args:
            scene: Named by the request.
            default: The default policy of the live bundle.
            output_names: What the live model reports.
        """
        trouble = (self._trouble,) if self._trouble else ()
        saved = self._live.get(scene)
        if saved is None:
            return Choice(default, 0, trouble)
        try:
            saved.policy.validate_outputs(output_names)
        except FusionError:  # saved for another model; visible in the answer, counted by the caller
            return Choice(default, 0, (*trouble, "policy_incompatible"))
        return Choice(saved.policy, saved.version, trouble)
