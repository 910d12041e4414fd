"""Nested states survive being flattened."""

from __future__ import annotations

import torch

from training.flat_state import flatten, nest, part


def test_what_is_flattened_comes_back() -> None:
    nested = {
        "names": ["b", "a"],
        "x": torch.ones(2),
        "inner": {"names": ["a"], "y": torch.zeros(3), "x": torch.ones(5)},
    }
    flat = {**flatten("first", nested), **flatten("second", {"x": torch.ones(7)})}
    assert {path: tuple(value.shape) for path, value in flat.items()} == {
        "first/x": (2,),
        "first/inner/y": (3,),
        "first/inner/x": (5,),
        "second/x": (7,),
    }
    back = nest(part("first", flat), nested)
    assert back == nested
