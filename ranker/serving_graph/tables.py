"""Embedding tables as a server keeps them: all of one width in one tensor, so that one lookup serves many features."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

import torch
from torch import Tensor, nn

# Shapes: W = rows of all tables of one width


class Place(NamedTuple):
    """Where a table lies.

    Attributes:
        width: Its columns, over all embedding sets.
        start: Its first row among the tables of that width.
        size: Its rows.
    """

    width: int
    start: int
    size: int


class StackedTables:
    """Tables on top of each other, by width.

    Args:
        tables: Weights of every table, [rows, columns].

    Attributes:
        weights: All tables of a width, [W, width], by width.
        places: Where each table lies, by name.
    """

    def __init__(self, tables: Mapping[str, Tensor]) -> None:
        by_width: dict[int, list[Tensor]] = {}
        self.places: dict[str, Place] = {}
        for name, weight in tables.items():
            stack = by_width.setdefault(weight.shape[1], [])
            self.places[name] = Place(weight.shape[1], sum(map(len, stack)), len(weight))
            stack.append(weight.detach())
        self.weights = {
            width: nn.Parameter(stack[0] if len(stack) == 1 else torch.cat(stack), requires_grad=False)
            for width, stack in by_width.items()
        }


def tables_of(model: torch.jit.ScriptModule) -> dict[str, Tensor]:
    """The tables in a scripted `ServingGraph`, by name, as they were trained."""
    stacked = {weight.shape[1]: weight for weight in model.request.parameters()}
    stacked |= {weight.shape[1]: weight for weight in model.item.parameters()}
    places = {n: Place(*place) for n, place in zip(model.table_names, model.places_T3.tolist(), strict=True)}
    return {name: stacked[place.width][place.start : place.start + place.size] for name, place in places.items()}
