"""Nested states as flat dictionaries of tensors, which every file format for tensors takes, and back."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from torch import Tensor


def flatten(prefix: str, state: Mapping[str, Any]) -> dict[str, Tensor]:
    """The tensors of a nested state, under paths that begin with `prefix`.

    Example:
        >>> import torch
        >>> list(flatten("a", {"b": torch.zeros(2), "c": {"d": torch.zeros(3)}, "names": ["x"]}))
        ['a/b', 'a/c/d']
    """
    found: dict[str, Tensor] = {}
    for name, value in state.items():
        if isinstance(value, Tensor):
            found[f"{prefix}/{name}"] = value
        elif isinstance(value, Mapping):
            found |= flatten(f"{prefix}/{name}", value)
    return found


def part(prefix: str, state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """What lies under `prefix`, without it."""
    return {path.removeprefix(f"{prefix}/"): value for path, value in state.items() if path.startswith(f"{prefix}/")}


def nest(state: Mapping[str, Tensor], like: Mapping[str, Any]) -> dict[str, Any]:
    """The nested state that `state` is the flat form of.

    Args:
        state: Tensors by path.
        like: A state of the same kind: what is no tensor there, such as names, is taken over.
    """
    found: dict[str, Any] = {name: value for name, value in state.items() if "/" not in name}
    for name, value in like.items():
        if isinstance(value, Mapping):
            found[name] = nest(part(name, state), value)
        elif not isinstance(value, Tensor):
            found[name] = value
    return found
