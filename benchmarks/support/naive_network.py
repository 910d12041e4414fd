"""A trained network of ours in the form in which the peers serve it: the same weights in a naive module."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from pathlib import Path

import torch
from torch import Tensor, nn

from benchmarks.peers.network import NaiveMMoE, Sizes
from benchmarks.peers.torch_scorer import MODEL
from ranker.models import MMoE
from ranker.schema import NumericFeature, Schema, table_name

WEIGHTS, SIZES = "weights.pt", "sizes.pt"


def write_naive_network(folder: Path, schema: Schema, config: MMoE.Config, state: Mapping[str, Tensor]) -> None:
    """Write the frozen TorchScript model, and its weights for exporters that want the module.

    Args:
        folder: To write to.
        schema: Features of the network, categories and plain numbers only.
        config: Of the architecture.
        state: Weights by name, as `training.network.Network.state` names them.
    """
    sides = [schema.side_features(side) for side in ("request", "item")]
    tables = [table_name(f) for features in sides for f in features if not isinstance(f, NumericFeature)]
    numbers = [f for features in sides for f in features if isinstance(f, NumericFeature)]
    sizes = Sizes(
        table_rows=[len(state[f"tables/{name}"]) for name in tables],
        embedding_dim=schema.embedding_dim,
        num_numbers=len(numbers),
        num_experts=config.num_experts,
        expert_dims=list(config.expert_dims),
        tower_dims=list(config.tower_dims),
        num_tasks=len(schema.task_names),
    )
    network = NaiveMMoE(sizes).eval()
    _copy(network, schema, state, [state[f"tables/{name}"] for name in tables])
    torch.save(network.state_dict(), folder / WEIGHTS)
    torch.save(sizes._asdict(), folder / SIZES)
    with warnings.catch_warnings():
        # The peers serve TorchScript because that is what their documentation shows; torch deprecates it.
        warnings.filterwarnings("ignore", message=r"`torch\.jit\.\w+` is deprecated", category=DeprecationWarning)
        torch.jit.freeze(torch.jit.script(network)).save(str(folder / MODEL))


@torch.no_grad()
def _copy(network: NaiveMMoE, schema: Schema, state: Mapping[str, Tensor], tables: list[Tensor]) -> None:
    """Give the naive network the weights of ours."""
    order = _input_order(schema)
    dense = {name.removeprefix("architecture/"): tensor for name, tensor in state.items()}
    for embedding, weight in zip(network.embeddings, tables, strict=True):
        _parameter(embedding, "weight").copy_(weight)
    num_experts = len(network.experts)
    first_EID = dense["experts.first.weight"].unflatten(0, [num_experts, -1])
    first_bias_EI = dense["experts.first.bias"].unflatten(0, [num_experts, -1])
    for place, expert in enumerate(network.experts):
        layers = [layer for layer in expert.children() if isinstance(layer, nn.Linear)]
        layers[0].weight.copy_(first_EID[place][:, order])
        layers[0].bias.copy_(first_bias_EI[place])
        for depth, layer in enumerate(layers[1:]):
            layer.weight.copy_(dense[f"experts.deeper.{depth}.weight_EIO"][place].T)
            layer.bias.copy_(dense[f"experts.deeper.{depth}.bias_E1O"][place, 0])
    for task, gate, tower in zip(schema.task_names, network.gates, network.towers, strict=True):
        _parameter(gate, "weight").copy_(dense[f"gates.task_{task}.linear.weight"][:, order])
        linear = [layer for layer in tower.modules() if isinstance(layer, nn.Linear)]
        ours = [name.removesuffix(".weight") for name in dense if name.startswith(f"towers.task_{task}.")]
        for layer, name in zip(linear, [name for name in ours if f"{name}.bias" in dense], strict=True):
            layer.weight.copy_(dense[f"{name}.weight"])
            layer.bias.copy_(dense[f"{name}.bias"])


def _parameter(module: nn.Module, name: str) -> nn.Parameter:
    return module.get_parameter(name)


def _input_order(schema: Schema) -> list[int]:
    """Which input of ours each input of the naive network is: ours has the numbers of a side behind its embeddings."""
    embedded: list[int] = []
    numbers: list[int] = []
    place = 0
    for side in ("request", "item"):
        features = schema.side_features(side)
        num_numbers = sum(isinstance(feature, NumericFeature) for feature in features)
        width = (len(features) - num_numbers) * schema.embedding_dim
        embedded += range(place, place + width)
        numbers += range(place + width, place + width + num_numbers)
        place += width + num_numbers
    return embedded + numbers
