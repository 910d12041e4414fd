"""The online side: an HTTP server that ranks candidates with the registry's current bundle and live fusion weights.

Example:
    >>> from serving import Settings, create_app
    >>> settings = Settings(registry="registry", store={"backend": "lmdb", "path": "features"})
    >>> create_app(settings).title
    'Ranking service'

Run it with `ranker-serve run`; every setting is a `RANKER_*` environment variable, listed in `serving.settings`.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from serving.app import create_app
    from serving.settings import Settings

__all__ = ["create_app", "Settings"]

_MODULES = {"create_app": "serving.app", "Settings": "serving.settings"}


def __getattr__(name: str) -> Any:
    # Imported when asked for: the builder of item tables starts beside requests, and needs no web framework.
    if name not in _MODULES:
        raise AttributeError(f"module 'serving' has no attribute '{name}'")
    return getattr(import_module(_MODULES[name]), name)
