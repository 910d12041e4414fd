"""The public surface is what `__all__` says."""

from __future__ import annotations

from types import ModuleType

import feature_store


def test_all_lists_every_public_name() -> None:
    public = {
        name
        for name, value in vars(feature_store).items()
        if not name.startswith("_") and not isinstance(value, ModuleType)
    }
    assert public == set(feature_store.__all__)
