"""The report of a night: one HTML page for whoever reads it in the morning, which opens without a network.

`render` reads what a run left in its folder, however far it came, and what changed since the run before. Of networks
with gates, `gate_usage` measures which experts each task uses, for a run to keep.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from training.report.page import render
    from training.report.usage import gate_usage

__all__ = [
    # show a run
    "render",
    # measure what only the network can tell
    "gate_usage",
]

# They need torch, which takes seconds to import, and read what the nightly job writes, which in turn calls them.
_HOMES = {
    "render": "training.report.page",
    "gate_usage": "training.report.usage",
}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module '{__name__}' has no attribute '{name}'")
    return getattr(import_module(_HOMES[name]), name)
