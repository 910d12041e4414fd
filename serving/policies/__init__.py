"""Where fusion policies live: by scene, versioned, with author, time and comment; embedded SQLite or Redis.

Example:
    >>> import asyncio, tempfile
    >>> from pathlib import Path
    >>> from ranker.fusion import FusionPolicy, Term
    >>> async def main() -> int:
    ...     with tempfile.TemporaryDirectory() as folder:
    ...         store = SQLitePolicyStore.Config(path=Path(folder) / "policies.sqlite").build()
    ...         policy = FusionPolicy(terms=(Term(output="ctr", weight=0.5),))
    ...         saved = await store.save("home", policy, author="ann", comment="first try", expected_version=0)
    ...         await store.close()
    ...         return saved.version
    >>> asyncio.run(main())
    1
"""

from typing import Annotated

from pydantic import Field

from serving.policies.base import PolicyStore, SavedPolicy
from serving.policies.cache import Choice, PolicyCache
from serving.policies.redis import RedisPolicyStore
from serving.policies.sqlite import SQLitePolicyStore

PolicyStoreConfig = Annotated[SQLitePolicyStore.Config | RedisPolicyStore.Config, Field(discriminator="backend")]

__all__ = [
    "PolicyStore",
    "PolicyStoreConfig",
    "SavedPolicy",
    "SQLitePolicyStore",
    "RedisPolicyStore",
    "PolicyCache",
    "Choice",
]
