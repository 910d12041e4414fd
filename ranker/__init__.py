"""What a ranking model is, from raw values to an order; touches no network.

A `Schema` says what one impression looks like. An `Encoder` turns its raw columns into tensors, for training and for
serving alike. A trained model reports raw outputs per task; a `Calibration` makes them probabilities and derives
products of them; a `FusionPolicy` weighs them into one score:

    >>> import numpy as np
    >>> from ranker import Calibration, FusionPolicy, Schema, top_k
    >>> schema = Schema.model_validate({
    ...     "features": [{"name": "price", "side": "item", "kind": "numeric"}],
    ...     "tasks": [{"name": "ctr", "label": "click"},
    ...               {"name": "cvr", "label": "buy", "space": {"where": {"click": 1}}}],
    ...     "outputs": {"ctcvr": "ctr * cvr"}})
    >>> logits = {"ctr": np.array([-3.0, -1.0, -2.0]), "cvr": np.array([2.0, -4.0, 1.0])}
    >>> outputs = Calibration.identity(schema).apply(logits)
    >>> top_k(FusionPolicy.default(schema).with_weights({"cvr": 0.0}).score(outputs))
    array([1, 2, 0])

All of these cross from training to serving as one verified `Bundle`, through a `Registry` of published versions. The
subpackages `layers`, `models`, `losses` and `weighting` are for training; nothing here imports them.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from ranker.calibration import Calibration, CalibrationConfig
from ranker.errors import BundleError, DataError, FusionError, RankerError, RegistryError, SchemaError
from ranker.fusion import FusionPolicy, Term, top_k
from ranker.schema import FrozenConfig, Schema

if TYPE_CHECKING:
    from ranker.bundle import Bundle
    from ranker.bundle_writer import write_bundle
    from ranker.encoding import Encoder, SideTensors
    from ranker.registry import Registry

__all__ = [
    # what an impression looks like, and how it becomes tensors
    "Schema",
    "FrozenConfig",
    "Encoder",
    "SideTensors",
    # from raw outputs to an order
    "Calibration",
    "CalibrationConfig",
    "FusionPolicy",
    "Term",
    "top_k",
    # from offline to online
    "Bundle",
    "write_bundle",
    "Registry",
    # what can go wrong
    "RankerError",
    "SchemaError",
    "DataError",
    "FusionError",
    "BundleError",
    "RegistryError",
]

# These need torch, which takes seconds to import: whoever only reads a schema or a policy need not wait for it.
_NEEDS_TORCH = {
    "Bundle": "ranker.bundle",
    "write_bundle": "ranker.bundle_writer",
    "Encoder": "ranker.encoding",
    "SideTensors": "ranker.encoding",
    "Registry": "ranker.registry",
}


def __getattr__(name: str) -> Any:
    if name not in _NEEDS_TORCH:
        raise AttributeError(f"module '{__name__}' has no attribute '{name}'")
    return getattr(import_module(_NEEDS_TORCH[name]), name)
