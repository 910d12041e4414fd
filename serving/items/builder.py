"""Builds one item table, as told on standard input: the program behind `python -m serving.items`.

A process of its own, at low priority: what it computes takes neither the interpreter nor the core from requests, and
what ends it ends no server.
"""

from __future__ import annotations

import json
import os
import signal
import sys
import threading
from pathlib import Path
from typing import Any

from pydantic import Field, SecretStr

from feature_store import StoreError
from ranker.encoding import Encoder
from ranker.errors import RankerError
from ranker.frozen_config import FrozenConfig
from ranker.manifest import load_json
from ranker.schema import Schema
from serving import logs
from serving.feature_plan import FeaturePlan
from serving.items.build import BuildError, build_table
from serving.items.encoder import ItemEncoder
from serving.items.source import ParquetItems, StoreSource

_STDIN = 0


class Order(FrozenConfig):
    """One table to build; a line of JSON."""

    bundle: Path = Field(description="Folder of the model's bundle.")
    fingerprint: str = Field(description="Of the bundle's encoder, as the server has read it.")
    source: StoreSource | ParquetItems = Field(description="Of the items.")
    target: Path = Field(description="Folder of the table; must not exist.")
    max_age_seconds: float | None = Field(description="Older rows count as missing; null: none do.")

    def line(self) -> bytes:
        """The order as the builder reads it. Holds what the store's password is: not for logs."""
        return json.dumps(self.model_dump(), default=_plain).encode() + b"\n"

    def encoder(self) -> ItemEncoder:
        """Of the model.

        Raises:
            BuildError: The bundle is not the one that the server has read.
            RankerError: It cannot be read.
        """
        schema = load_json(self.bundle / "schema.json", Schema)
        encoder = Encoder.load(self.bundle / "encoder", schema)
        if encoder.fingerprint != self.fingerprint:
            raise BuildError(f"the encoder of '{self.bundle}' is not the one that is served: the bundle was altered")
        return ItemEncoder(encoder, FeaturePlan.of(schema))


def main() -> None:
    """Build what one line of standard input orders; end at once when that is closed, for then the server has gone.

    Standard output tells how it goes, a line of JSON each: `{"rows": N}` so far, and in the end `{"problem": "..."}`,
    with exit code 1, if there is one.
    """
    logs.configure()
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches all processes of a terminal; the server ends this one
    order = Order.model_validate_json(sys.stdin.buffer.readline())
    threading.Thread(target=_end_with_server, daemon=True).start()
    try:
        build_table(
            order.source,
            order.encoder(),
            order.target,
            max_age_seconds=order.max_age_seconds,
            on_progress=lambda num_rows: _tell({"rows": num_rows}),
        )
    except (BuildError, StoreError, RankerError, OSError) as exc:
        _tell({"problem": str(exc)})
        sys.exit(1)


def _end_with_server() -> None:
    os.read(_STDIN, 1)  # past Python's buffer, whose lock would keep the interpreter from ending
    os._exit(1)


def _tell(what: dict[str, Any]) -> None:
    sys.stdout.write(json.dumps(what) + "\n")
    sys.stdout.flush()


def _plain(value: object) -> str:
    return value.get_secret_value() if isinstance(value, SecretStr) else str(value)
