"""Building blocks of the architectures: plain modules from tensors to tensors, all of which `torch.jit.script` takes.

`ranker.layers.embedding` is imported by its own name: it alone needs torchrec.

Example:
    >>> import torch
    >>> experts, gate = Experts(num_experts=3, input_dim=5, hidden_dims=(4,)), Gate(input_dim=5, num_experts=3)
    >>> x_BD = torch.zeros(7, 5)
    >>> Tower(4, (2,))(gate(x_BD, experts(x_BD))).shape
    torch.Size([7])
"""

from ranker.layers.experts import ExpertLinear, ExpertNorm, Experts, NoExperts
from ranker.layers.gate import Gate
from ranker.layers.linear import Linear
from ranker.layers.mlp import MLP, Activation, Width, build_activation
from ranker.layers.precision import FullLinear, full_precision
from ranker.layers.tower import Tower

__all__ = [
    "MLP",
    "Activation",
    "ExpertLinear",
    "ExpertNorm",
    "Experts",
    "FullLinear",
    "Gate",
    "Linear",
    "NoExperts",
    "Tower",
    "Width",
    "build_activation",
    "full_precision",
]
