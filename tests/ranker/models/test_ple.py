"""What makes PLE PLE."""

from __future__ import annotations

import pytest
import torch
from pydantic import ValidationError

from ranker.layers import Gate
from ranker.models import PLE, MMoE, reached_by
from ranker.models.ple import Level

TASKS = ("ctr", "cvr", "watch")


def ple(num_shared: int, num_specific: int, expert_dims: tuple[tuple[int, ...], ...]) -> PLE:
    """A PLE for inputs of width 5 and three tasks."""
    config = PLE.Config(
        num_shared_experts=num_shared, num_specific_experts=num_specific, expert_dims=expert_dims, tower_dims=(9,)
    )
    return config.build(5, TASKS)


def test_one_level_without_specific_experts_is_mmoe() -> None:
    model, x_BD = ple(4, 0, ((6, 8),)), torch.randn(7, 5)
    mmoe = MMoE.Config(num_experts=4, expert_dims=(6, 8), tower_dims=(9,)).build(5, TASKS)
    (level,) = model.levels
    assert isinstance(level, Level)
    mmoe.experts.load_state_dict(level.shared.state_dict())
    mmoe.gates.load_state_dict(level.gates.state_dict())
    mmoe.towers.load_state_dict(model.towers.state_dict())
    torch.testing.assert_close(model(x_BD), mmoe(x_BD))


def test_equations_of_the_paper() -> None:
    """Two levels, written out per task with each gate over its own and the shared experts."""
    model, x_BD = ple(2, 1, ((4,), (6,))), torch.randn(7, 5)
    inputs, shared_BD = dict.fromkeys(TASKS, x_BD), x_BD
    for level in model.levels:
        assert isinstance(level, Level)
        shared_BEH = level.shared(shared_BD)
        own = {task: level.specific[f"task_{task}"](inputs[task]) for task in TASKS}
        mixed = {}
        for task in TASKS:
            experts_BEH = torch.cat([own[task], shared_BEH], dim=1)
            gate = level.gates[f"task_{task}"]
            assert isinstance(gate, Gate)
            gate_BE = torch.softmax(inputs[task] @ gate.linear.weight.T, dim=1)
            mixed[task] = torch.einsum("be,beh->bh", gate_BE, experts_BEH)
        if level.shared_gate is not None:
            gate_BE = torch.softmax(shared_BD @ level.shared_gate.linear.weight.T, dim=1)
            assert gate_BE.shape == (7, 2 + 3 * 1)
            shared_BD = torch.einsum("be,beh->bh", gate_BE, torch.cat([shared_BEH, *own.values()], dim=1))
        inputs = mixed
    for task in TASKS:
        torch.testing.assert_close(model(x_BD)[task], model.towers[f"task_{task}"](inputs[task]))


def test_only_lower_levels_have_a_shared_gate() -> None:
    levels = list(ple(2, 1, ((4,), (6,), (8,))).levels)
    assert [isinstance(level, Level) and level.shared_gate is not None for level in levels] == [True, True, False]


def test_specific_experts_belong_to_one_task_in_the_last_level_only() -> None:
    reached = reached_by(ple(2, 1, ((4,), (6,))), torch.randn(7, 5))
    for task in TASKS:
        assert reached[f"levels.0.specific.task_{task}.first.weight"] == TASKS
        assert reached[f"levels.1.specific.task_{task}.first.weight"] == (task,)
        assert reached[f"levels.1.gates.task_{task}.linear.weight"] == (task,)
    assert reached["levels.1.shared.first.weight"] == TASKS


def test_a_lower_specific_expert_learns_from_other_tasks() -> None:
    """Through the shared gate: with a gradient that is more than formally there."""
    model = ple(2, 1, ((4,), (6,)))
    model(torch.randn(50, 5))["ctr"].sum().backward()
    gradient = model.get_parameter("levels.0.specific.task_cvr.first.weight").grad
    assert gradient is not None
    assert gradient.any()
    assert model.get_parameter("levels.1.specific.task_cvr.first.weight").grad is None


def test_without_shared_experts_nothing_is_shared() -> None:
    reached = reached_by(ple(0, 2, ((4,), (6,))), torch.randn(7, 5))
    assert all(len(tasks) == 1 for tasks in reached.values())


@pytest.mark.parametrize(("num_shared", "num_specific"), [(2, 1), (1, 2), (3, 0), (0, 3)])
def test_shared_and_specific_counts_are_independent(num_shared: int, num_specific: int) -> None:
    lower, last = ple(num_shared, num_specific, ((4,), (6,))).levels
    for level, input_dim in ((lower, 5), (last, 4)):
        assert isinstance(level, Level)
        assert level.shared(torch.zeros(7, input_dim)).shape[1] == num_shared
        for task in TASKS:
            assert level.specific[f"task_{task}"](torch.zeros(7, input_dim)).shape[1] == num_specific


def test_a_level_needs_an_expert() -> None:
    with pytest.raises(ValidationError, match=r"`num_shared_experts` \+ `num_specific_experts` must be at least 1"):
        PLE.Config(num_shared_experts=0, num_specific_experts=0)


@pytest.mark.parametrize("expert_dims", [(), ((),), ((4,), ())], ids=str)
def test_a_level_needs_a_width(expert_dims: tuple[tuple[int, ...], ...]) -> None:
    with pytest.raises(ValidationError, match="expert_dims"):
        PLE.Config(expert_dims=expert_dims)
