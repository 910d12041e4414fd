"""An experiment's settings by dotted key, so that those of two nights can be held against each other."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, TypeAlias

Settings: TypeAlias = dict[str, str]

_NAMED = "name"  # features, tasks and views are told apart by it, not by their place


def flat_settings(content: Any) -> Settings:
    """Every setting as text.

    Args:
        content: Of the YAML: nested mappings and lists.

    Example:
        >>> flat_settings({"model": {"dims": [8, 4]}, "tasks": [{"name": "ctr", "label": "click"}]})
        {'model.dims': '[8, 4]', 'tasks.ctr.label': 'click'}
    """
    return dict(_flat("", content))


def _flat(key: str, value: Any) -> Iterator[tuple[str, str]]:
    prefix = f"{key}." if key else ""
    if isinstance(value, dict) and value:
        for name, inner in value.items():
            yield from _flat(f"{prefix}{name}", inner)
    elif isinstance(value, list) and value and all(isinstance(entry, dict) and _NAMED in entry for entry in value):
        for entry in value:
            inner = {name: setting for name, setting in entry.items() if name != _NAMED}
            yield from _flat(f"{prefix}{entry[_NAMED]}", inner)
    else:
        yield key, "null" if value is None else str(value)


def changed_settings(before: Settings, after: Settings) -> list[tuple[str, str | None, str | None]]:
    """Key, value before and value after of every setting that changed; None: there was none.

    Example:
        >>> changed_settings({"a": "1", "b": "2"}, {"a": "1", "b": "3", "c": "4"})
        [('b', '2', '3'), ('c', None, '4')]
    """
    keys = dict.fromkeys([*before, *after])
    return [(key, before.get(key), after.get(key)) for key in keys if before.get(key) != after.get(key)]
