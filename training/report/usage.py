"""Which experts each task uses: measured by the run that has the network, kept as JSON."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

from pydantic import TypeAdapter

from ranker.encoding import Encoder
from training.data import Impressions
from training.diagnostics.gates import GateReport, gate_use
from training.network import Network
from training.splits import Split


def gate_usage(
    network: Network, encoder: Encoder, impressions: Impressions, split: Split = "valid", batch_size: int = 16_384
) -> dict[str, Any]:
    """What the gates of a trained network say to the rows of one split, as JSON values for `gates.json`.

    Every process has to call this, and all get the same.

    Args:
        network: Trained.
        encoder: The one it was trained with.
        impressions: The data.
        split: Rows to look at.
        batch_size: Rows at a time.

    Returns:
        Of every gate its experts, their mean weights and how many a row effectively uses; or the reason why there are
        none.
    """
    return asdict(gate_use(network, encoder, impressions, split, batch_size))


def read_gate_usage(content: Mapping[str, Any]) -> GateReport:
    """What `gate_usage` gave.

    Raises:
        ValidationError: It is something else; names the field.
    """
    return TypeAdapter(GateReport).validate_python(content)
