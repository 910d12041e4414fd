"""Mixing experts by gates: all gates that weigh some of the same experts at once."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from typing import NamedTuple, cast

import torch
from torch import fx

from ranker.serving_graph.constants import add_constant, prune
from ranker.serving_graph.mixture import mix, seen_weights
from ranker.serving_graph.order import order
from ranker.serving_graph.trace import ATEN

# Shapes: B = rows, N = experts, H = width of an expert's output


SEEN = "seen"  # key of a mixture's `meta`: the `seen_weights` of its gates


@dataclass(frozen=True, slots=True)
class Mixture:
    """One gate's mixture as architectures write it: softmax, then a batched product of one row.

    Attributes:
        product: The batched product.
        logits: What the softmax reads.
        groups: The experts, as they lie side by side.
    """

    product: fx.Node
    logits: fx.Node
    groups: tuple[fx.Node, ...]


def mix_at_once(network: fx.GraphModule) -> None:
    """Mix all experts of a level, by all gates, in one product.

    Gates need not see the same experts, and none may read what another one mixed.
    """
    mixtures = [found for node in network.graph.nodes if (found := _mixture(node)) is not None]
    for level in _levels(mixtures):
        _join(network, level)
    order(network)
    prune(network)


def _mixture(node: fx.Node) -> Mixture | None:
    """The mixture that a node computes, if it does."""
    if node.target is not ATEN.bmm.default or node.meta["val"].shape[1] != 1:
        return None
    row, experts = cast("tuple[fx.Node, fx.Node]", node.args)
    shares = row.args[0] if row.target is ATEN.unsqueeze.default and row.args[1] == 1 else None
    if not isinstance(shares, fx.Node) or shares.target is not ATEN.softmax.int or shares.args[1] not in (-1, 1):
        return None
    if any(reader.target is not ATEN.select.int or reader.args[1:] != (1, 0) for reader in node.users):
        return None
    joined = experts.target is ATEN.cat.default and experts.args[1:] == (1,)
    groups = cast("list[fx.Node]", experts.args[0]) if joined else [experts]
    logits = shares.args[0]
    assert isinstance(logits, fx.Node)
    return Mixture(node, logits, tuple(group for group in groups if _num_experts(group) > 0))


def _levels(mixtures: list[Mixture]) -> list[list[Mixture]]:
    """Mixtures that share experts, and do not read each other."""
    levels: list[list[Mixture]] = []
    for mixture in mixtures:
        for level in levels:
            experts = {group for other in level for group in other.groups}
            if experts & {*mixture.groups} and not any(_reads(mixture, other) for other in level):
                level.append(mixture)
                break
        else:
            levels.append([mixture])
    return levels


def _reads(mixture: Mixture, other: Mixture) -> bool:
    """Whether a mixture depends on another one."""
    pending, seen = [mixture.product], set[fx.Node]()
    while pending:
        node = pending.pop()
        if node is other.product:
            return True
        if node not in seen:
            seen.add(node)
            pending += node.all_input_nodes
    return False


def _join(network: fx.GraphModule, level: list[Mixture]) -> None:
    graph, last = network.graph, level[-1].product
    groups = sorted(dict.fromkeys(group for mixture in level for group in mixture.groups), key=_start)
    with graph.inserting_before(last):
        logits = _neighbours(graph, [mixture.logits for mixture in level])
        places = _places(level, groups)
        arranged = None if places == list(range(len(places))) else add_constant(network, torch.tensor(places))
        experts = _side_by_side(graph, groups)
        mixed = graph.call_function(mix, (logits, arranged, experts))
        mixed.meta[SEEN] = seen_weights(_seen(level, groups), sum(map(_num_experts, groups)))
    for number, mixture in enumerate(level):
        for reader in list(mixture.product.users):
            with graph.inserting_after(mixed):
                own = graph.call_function(ATEN.select.int, (mixed, 1, number))
            own.meta = dict(reader.meta)
            reader.replace_all_uses_with(own)


def _num_experts(group: fx.Node) -> int:
    num_experts: int = group.meta["val"].shape[1]
    return num_experts


def _places(level: list[Mixture], groups: list[fx.Node]) -> list[int]:
    """Of each gate and expert the place of its logit among all; behind the last one if the gate does not see it."""
    sizes = {group: _num_experts(group) for group in groups}
    num_logits = sum(sizes[group] for mixture in level for group in mixture.groups)
    places, start = [], 0
    for mixture in level:
        own = {}
        for group in mixture.groups:
            own[group] = range(start, start + sizes[group])
            start += sizes[group]
        for group in groups:
            places += list(own.get(group, [num_logits] * sizes[group]))
    return places


def _seen(level: list[Mixture], groups: list[fx.Node]) -> list[list[int]]:
    """Of each gate, the places of the experts that it sees among all experts of all gates."""
    sizes = [_num_experts(group) for group in groups]
    starts = [sum(sizes[:number]) for number in range(len(sizes))]
    seen = []
    for gate, mixture in enumerate(level):
        first = gate * sum(sizes)
        own = [number for number, group in enumerate(groups) if group in mixture.groups]
        seen.append([first + starts[number] + expert for number in own for expert in range(sizes[number])])
    return seen


def _side_by_side(graph: fx.Graph, groups: list[fx.Node]) -> fx.Node:
    """All groups as one [B, N, H]: where they lie, if they are neighbours in one product."""
    if len(groups) == 1:
        return groups[0]
    columns = [_columns(group) for group in groups]
    first, last = columns[0], columns[-1]
    if first is None or any(one is None or not one.follows(other) for other, one in pairwise(columns)):
        return graph.call_function(ATEN.cat.default, (groups, 1))
    assert last is not None
    num_experts = sum(_num_experts(group) for group in groups)
    lying = graph.call_function(ATEN.slice.Tensor, (first.product, 1, first.start, last.stop))
    experts = graph.call_function(ATEN.unflatten.int, (lying, 1, [num_experts, -1]))
    return graph.call_function(ATEN.relu.default, (experts,)) if first.activated else experts


def _neighbours(graph: fx.Graph, parts: list[fx.Node]) -> fx.Node:
    """Nodes [B, *] as one: what they are columns of, one behind the other, if they are; else put together."""
    bounds = [part.args for part in parts if part.target is ATEN.slice.Tensor and part.args[1] == 1]
    if len(bounds) == len(parts) and all(one[::3] == (other[0], other[2]) for one, other in pairwise(bounds)):
        product, _, start, _ = bounds[0]
        return graph.call_function(ATEN.slice.Tensor, (product, 1, start, bounds[-1][3]))
    return graph.call_function(ATEN.cat.default, (parts, 1))


def _start(group: fx.Node) -> int:
    columns = _columns(group)
    return columns.start if columns else 0


class _Columns(NamedTuple):
    """Where a group of experts lies in the product that computes it."""

    product: fx.Node
    start: int
    stop: int
    activated: bool

    def follows(self, other: _Columns | None) -> bool:
        """Whether this group lies right behind another one."""
        return other is not None and other._replace(start=other.stop, stop=self.stop) == self


def _columns(group: fx.Node) -> _Columns | None:
    """The columns of a product that a group is, if it is; those that come before ReLU, if that is all between."""
    activated = group.target is ATEN.relu.default
    rows = group.args[0] if activated else group
    if not isinstance(rows, fx.Node) or rows.target is not ATEN.unflatten.int or rows.args[1] != 1:
        return None
    columns = rows.args[0]
    if not isinstance(columns, fx.Node) or columns.target is not ATEN.slice.Tensor or columns.args[1] != 1:
        return None
    product, _, start, stop = columns.args
    assert isinstance(product, fx.Node)
    assert isinstance(start, int)
    assert isinstance(stop, int)
    return _Columns(product, start, stop, activated)


def mix_along_rows(network: fx.GraphModule) -> None:
    """Compute every other softmax of [B, E] on its transpose."""
    graph = network.graph
    for node in list(graph.nodes):
        if node.target is not ATEN.softmax.int or node.meta["val"].dim() != 2 or node.args[1] not in (-1, 1):
            continue
        with graph.inserting_before(node):
            across = graph.call_function(ATEN.transpose.int, (node.args[0], 0, 1))
            dense_EB = graph.call_function(ATEN.contiguous.default, (across,))
            shares_EB = graph.call_function(ATEN.softmax.int, (dense_EB, 0))
            back = graph.call_function(ATEN.transpose.int, (shares_EB, 0, 1))
            shares_BE = graph.call_function(ATEN.contiguous.default, (back,))
        for new in (across, dense_EB, shares_EB, back, shares_BE):
            new.meta = dict(node.meta)
        node.replace_all_uses_with(shares_BE)
        graph.erase_node(node)
    network.recompile()
