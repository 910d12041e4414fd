"""The online side: an HTTP server that ranks candidates with the registry's current bundle and live fusion weights.

Example:
    >>> from serving import Settings, create_app
    >>> settings = Settings(registry="registry", store={"backend": "lmdb", "path": "features"})
    >>> create_app(settings).title
    'Ranking service'

Run it with `ranker-serve run`; every setting is a `RANKER_*` environment variable, listed in `serving.settings`.
"""

from serving.app import create_app
from serving.settings import Settings

__all__ = ["create_app", "Settings"]
