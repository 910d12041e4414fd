"""The optimizer of all that is no embedding table."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import AdamW, Optimizer

from training.config import DenseOptimizer


def dense_optimizer(config: DenseOptimizer, model: nn.Module) -> Optimizer:
    """AdamW on every parameter, with coefficient-free L2 on the weights if the config says so."""
    optimizer = AdamW(model.parameters(), lr=config.learning_rate, weight_decay=config.weight_decay, fused=True)
    if config.coefficient_free_l2:
        weights = [p for name, p in model.named_parameters() if name.rpartition(".")[2].startswith("weight")]

        def regularise(_optimizer: Optimizer, _args: tuple[Any, ...], _kwargs: dict[str, Any]) -> None:
            coefficient_free_l2(weights)

        optimizer.register_step_pre_hook(regularise)
    return optimizer


def optimizer_state(optimizer: Optimizer, model: nn.Module) -> dict[str, Tensor]:
    """Copies of what an optimizer remembers, on the CPU, as `PARAMETER/STATE`: independent of the parameters' order.

    Args:
        optimizer: Of the parameters of `model`.
        model: Names the parameters.
    """
    return {
        f"{name}/{key}": value.detach().cpu().clone()
        for name, parameter in model.named_parameters()
        for key, value in optimizer.state.get(parameter, {}).items()
        if isinstance(value, Tensor)
    }


def load_optimizer_state(optimizer: Optimizer, model: nn.Module, state: Mapping[str, Tensor]) -> None:
    """Take up what `optimizer_state` gave.

    Raises:
        ValueError: It is that of other parameters; names one.
    """
    by_parameter: dict[str, dict[str, Tensor]] = {}
    for key, value in state.items():
        name, _, of = key.rpartition("/")
        by_parameter.setdefault(name, {})[of] = value.clone()
    names = {parameter: name for name, parameter in model.named_parameters()}
    if unknown := sorted(set(by_parameter) - set(names.values())):
        raise ValueError(f"`state` must be that of the parameters of this model, got '{unknown[0]}', which it lacks")
    # torch counts the parameters of all groups; their settings stay those of this optimizer.
    order = [names[parameter] for group in optimizer.param_groups for parameter in group["params"]]
    entries = {place: by_parameter[name] for place, name in enumerate(order) if name in by_parameter}
    optimizer.load_state_dict({"state": entries, "param_groups": optimizer.state_dict()["param_groups"]})


@torch.no_grad()
def coefficient_free_l2(parameters: list[nn.Parameter]) -> None:
    """Take out of each gradient what would make its tensor longer: u = g + max(0, -<g, theta>) / ||theta||^2 theta.

    L2 as a constraint in place of a penalty: u is the nearest to g among the changes with <u, theta> >= 0, so a step
    along -u does not lengthen theta, to first order, and where the loss itself shortens theta nothing is changed. There
    is no coefficient to tune. Each tensor by itself; on the gradient, before the optimizer's own scaling.

    Args:
        parameters: Whose `grad` to change; those without one are left alone.
    """
    for parameter in parameters:
        if parameter.grad is None:
            continue
        square = parameter.square().sum()
        along = (parameter.grad * parameter).sum().clamp(max=0)
        parameter.grad -= torch.where(square > 0, along / square, 0.0) * parameter
