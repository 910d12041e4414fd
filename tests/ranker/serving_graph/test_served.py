"""Every architecture serves what it computes when trained: for one request, for many, in float32 and in bfloat16."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
import torch
from torch import Tensor, nn

from ranker.layers import Linear, Tower
from ranker.manifest import Precision
from ranker.models import STEM, MMoE, NetworkConfig, SharedBottom, TaskInputs
from ranker.serving_graph import Served, serve
from ranker.serving_graph.relu import split_linear_relu
from ranker.serving_graph.split import split_linear
from ranker.torchscript import script
from tests.ranker.models.test_contract import SETTINGS

# Shapes: B = rows, D = 11 columns of a set, of which the request fills 4 and the item 7, in mixed order

REQUEST, ITEM = (3, 8, 2, 0), (10, 4, 5, 7, 6, 1, 9)
WIDTH, PADDING = 11, 5
TASKS = ("cvr", "ctr", "watch")
TOLERANCE: dict[Precision, float] = {"fp32": 1e-5, "bf16": 3e-2}
DEFAULTS = [config for config in SETTINGS if type(config)() == config]
PRECISIONS = pytest.mark.parametrize("precision", TOLERANCE)


def columns(side: Sequence[int], num_sets: int, padding: int = 0) -> list[int]:
    """Columns of one side over all sets."""
    return [n * WIDTH + column if column >= 0 else -1 for n in range(num_sets) for column in (*side, *[-1] * padding)]


def served(architecture: nn.Module, precision: Precision, num_sets: int = 1) -> Served:
    """The architecture after all passes."""
    sides = columns(REQUEST, num_sets), columns(ITEM, num_sets, PADDING)
    return serve(architecture.eval(), *sides, precision, num_sets)


class Scriptable(nn.Module):
    """A graph inside of a module, as a bundle has it."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, item_BV: Tensor, request_XP: Tensor) -> list[Tensor]:
        """Raw outputs [B] of each task."""
        return list(self.network(item_BV, request_XP))


def outputs(found: Served, network: nn.Module, request_XU: Tensor, x_BD: Tensor, num_sets: int = 1) -> list[Tensor]:
    """Outputs for rows of which the item's side is read from `x_BD`."""
    padded_BD = torch.cat([x_BD, torch.zeros(len(x_BD), 1)], dim=1)
    with torch.inference_mode():
        item_BV = padded_BD[:, columns(ITEM, num_sets, PADDING)]
        return list(network(item_BV, found.request_products(request_XU)))


def assert_serves(architecture: nn.Module, precision: Precision, num_sets: int = 1, scripted: bool = False) -> None:
    """One request for all rows, and one request a row, give what the architecture gives."""
    found = served(architecture, precision, num_sets)
    network = script(Scriptable(found.network)) if scripted else found.network
    own_BD = torch.randn(64, WIDTH * num_sets)
    sides = columns(REQUEST, num_sets)
    common_BD = own_BD.clone()
    common_BD[:, sides] = own_BD[:1, sides]
    for x_BD, request_XU in ((own_BD, own_BD[:, sides]), (common_BD, own_BD[:1, sides])):
        with torch.inference_mode():
            expected = architecture(x_BD)
        assert found.task_names == tuple(expected)
        for output_B, expected_B in zip(
            outputs(found, network, request_XU, x_BD, num_sets), expected.values(), strict=True
        ):
            assert output_B.dtype == torch.float32
            torch.testing.assert_close(output_B, expected_B, rtol=0, atol=TOLERANCE[precision])


@pytest.mark.parametrize("config", SETTINGS, ids=repr)
def test_every_architecture(config: NetworkConfig) -> None:
    assert_serves(config.build(WIDTH, TASKS), "fp32", config.num_embedding_sets(TASKS))


@pytest.mark.parametrize("config", DEFAULTS, ids=repr)
def test_every_architecture_in_torchscript_and_bfloat16(config: NetworkConfig) -> None:
    assert_serves(config.build(WIDTH, TASKS), "bf16", config.num_embedding_sets(TASKS), scripted=True)


@pytest.mark.parametrize(
    "config",
    [
        SharedBottom.Config(bottom_dims=(8,)),
        MMoE.Config(num_experts=3, expert_dims=(8, 6)),
        STEM.Config(num_shared_experts=1, num_specific_experts=2, expert_dims=(8,), gate_dims=()),
    ],
    ids=repr,
)
def test_inputs_that_tasks_see_in_part(config: NetworkConfig) -> None:
    num_sets = config.num_embedding_sets(TASKS)
    masks_TD = (torch.rand(len(TASKS), WIDTH * num_sets) < 0.7).float()
    architecture = TaskInputs(config.build(WIDTH, TASKS), masks_TD, WIDTH if num_sets == 1 else None)
    for parameter in architecture.views.parameters():
        nn.init.normal_(parameter, std=WIDTH**-0.5)
    assert_serves(architecture, "fp32", num_sets)


@PRECISIONS
@pytest.mark.parametrize("num_tasks", [1, 2, 5])
def test_equal_rows_tie(precision: Precision, num_tasks: int) -> None:
    """Behind padding to whole blocks a row's scores depend on the row alone, bit by bit."""
    tasks = TASKS[:num_tasks] if num_tasks <= 3 else (*TASKS, "buy", "like")
    architecture = MMoE.Config(num_experts=3, expert_dims=(24, 9), tower_dims=(5,)).build(WIDTH, tasks)
    found = served(architecture, precision)
    network = script(Scriptable(found.network))
    row_1D = torch.randn(1, WIDTH)
    for num_rows in (64, 128, 192):
        for output_B in outputs(found, network, row_1D[:, REQUEST], row_1D.expand(num_rows, -1)):
            assert bool((output_B == output_B[0]).all())


def products(found: Served) -> list[tuple[int, int]]:
    """Inner and outer width of the products that read the item's side."""
    nodes = [node for node in found.network.graph.nodes if node.target in (split_linear, split_linear_relu)]
    weights = [getattr(found.network, str(node.args[1].target)) for node in nodes]
    return sorted(tuple(weight.shape[::-1]) for weight in weights)


def test_all_products_of_the_item_are_one() -> None:
    architecture = MMoE.Config(num_experts=3, expert_dims=(24, 9)).build(WIDTH, TASKS)
    assert products(served(architecture, "fp32")) == [(12, 96)]  # 3 experts of 24, 3 gates of 3, 15 of padding


def test_gates_stay_apart_where_they_stay_precise() -> None:
    architecture = MMoE.Config(num_experts=3, expert_dims=(24, 9)).build(WIDTH, TASKS)
    found = served(architecture, "bf16")
    assert products(found) == [(12, 16), (12, 24), (12, 24), (12, 24)]
    low = {name for name, tensor in found.network.named_buffers() if tensor.dtype == torch.bfloat16}
    assert {tuple(getattr(found.network, name).shape) for name in low} >= {(24, 12), (16, 24)}
    assert found.weight_PU.dtype == torch.float32


class Reader(nn.Module):
    """Reads more of its input than products: its squares, its size and its order."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.tower = Linear(WIDTH, 6), Tower(6, (4,))

    def forward(self, x_BD: Tensor) -> dict[str, Tensor]:
        """Two outputs [B]."""
        squares_BD = x_BD * x_BD
        shift_B = squares_BD[:, 2] - squares_BD[:, 9] + x_BD.new_zeros([x_BD.size(0)])
        return {"plain": self.tower(self.first(x_BD)), "shifted": self.tower(self.first(squares_BD)) + shift_B}


@PRECISIONS
def test_what_cannot_be_split_reads_all(precision: Precision) -> None:
    assert_serves(Reader(), precision, scripted=True)


class Overlapping(nn.Module):
    """Activates a part of a layer's columns, and reads others of them too as they were."""

    def __init__(self) -> None:
        super().__init__()
        self.first = Linear(WIDTH, 24)

    def forward(self, x_BD: Tensor) -> dict[str, Tensor]:
        """Two outputs [B]."""
        h_BH = self.first(x_BD)
        return {"active": torch.relu(h_BH[:, :9]).sum(dim=1), "plain": h_BH[:, 7:23].sum(dim=1)}


def test_what_others_read_is_not_overwritten() -> None:
    assert_serves(Overlapping(), "fp32")


class OneSided(nn.Module):
    """Reads the request alone."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.tower = Linear(len(REQUEST), 6), Tower(6, (4,))

    def forward(self, x_BD: Tensor) -> dict[str, Tensor]:
        """One output [B]."""
        return {"ctr": self.tower(self.first(x_BD))}


def test_an_item_without_columns() -> None:
    architecture = OneSided().eval()
    found = serve(architecture, [3, 1, 0, 2], [-1] * 32)
    x_1D = torch.randn(1, 4)
    with torch.inference_mode():
        (output_B,) = found.network(torch.zeros(64, 32), found.request_products(x_1D[:, [3, 1, 0, 2]]))
        torch.testing.assert_close(output_B, architecture(x_1D.expand(64, -1))["ctr"])


def test_a_network_in_training_mode_is_refused() -> None:
    with pytest.raises(ValueError, match="`architecture` must be in eval mode"):
        serve(SharedBottom.Config().build(WIDTH, TASKS), REQUEST, ITEM)
