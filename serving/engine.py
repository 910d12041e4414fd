"""A bundle made ready to score: warmed, checked against its golden rows, and fast from its first request on."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from time import perf_counter
from typing import Any, Literal, NamedTuple

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from ranker.bundle import Bundle
from ranker.encoding import SideTensors
from ranker.errors import BundleError, RankerError
from ranker.fusion import FusionPolicy
from ranker.huge_pages import use_huge_pages
from ranker.serving_graph import bucket_sizes
from serving.feature_plan import Columns, FeaturePlan
from serving.items import ItemSide
from serving.pace import Rest, no_rest

logger = logging.getLogger(__name__)

# Shapes: L = candidates of one request

Outputs = Mapping[str, npt.NDArray[np.float64]]

EngineName = Literal["auto", "torchscript", "aotinductor"]

_MAX_CANDIDATES = 10_000
_WARM_ROUNDS = 3  # TorchScript profiles its first calls and specialises on them
_NUM_CHECKED_ROWS = 64


class Scored(NamedTuple):
    """Calibrated outputs [L] by name, and the seconds that each step took."""

    outputs: Outputs
    encode_seconds: float
    score_seconds: float


class Engine:
    """One verified bundle. Immutable: in-flight requests finish on the engine that they began with.

    Args:
        bundle: As read from the registry.
        name: What computes. aotinductor: the bundle's compiled network, or TorchScript, with a warning that says why,
            where the bundle has none for this machine, or it cannot be loaded; auto: the same, and no warning where
            there is none.
        max_candidates: Largest request; every bucket of sizes up to it is warmed.
        rest: Called between the steps of making the bundle ready.

    Attributes:
        name: What computes: torchscript or aotinductor.
        path: Folder that the bundle was read from.

    Raises:
        BundleError: The bundle does not reproduce its golden rows, whole or one request at a time.
    """

    def __init__(
        self, bundle: Bundle, name: EngineName = "auto", max_candidates: int = _MAX_CANDIDATES, rest: Rest = no_rest
    ) -> None:
        self.version = bundle.manifest.version
        self.path = bundle.path
        self.schema = bundle.schema
        self.plan = FeaturePlan.of(bundle.schema)
        self.fusion: FusionPolicy = bundle.fusion
        self.output_names: Sequence[str] = bundle.schema.output_names
        self.manifest = bundle.manifest
        self.item_side = ItemSide(bundle.encoder, self.plan)
        use_huge_pages(bundle.model.parameters())
        golden = bundle.golden()
        bundle.verify_golden()
        rest()
        self.name: EngineName
        self._bundle, self.name = _compiled(bundle, name)
        self._warm(golden, max_candidates, rest)
        self._verify_requests(golden, rest)

    def score(self, request: Mapping[str, Any], items: Columns) -> Scored:
        """Score the candidates of one request.

        Args:
            request: Raw user and context columns, a value of each.
            items: Raw item columns, L values each.

        Raises:
            DataError: A value is of the wrong type.
        """
        start = perf_counter()
        request_tensors = self.encode_request(request)
        item_tensors = self._bundle.encoder.encode_side(items, "item")
        encoded = perf_counter()
        outputs = self.score_encoded(request_tensors, item_tensors)
        return Scored(outputs, encoded - start, perf_counter() - encoded)

    def encode_request(self, request: Mapping[str, Any]) -> SideTensors:
        """Raw user and context columns, a value of each, as the model reads them.

        Raises:
            DataError: A value is of the wrong type.
        """
        return self._bundle.encoder.encode_row(request, "request")

    def score_encoded(self, request: SideTensors, items: SideTensors) -> Outputs:
        """Calibrated outputs [L] by name of one request's L candidates, all encoded."""
        return self.calibrate(self.run(request, items))

    def run(self, request: SideTensors, items: SideTensors) -> Outputs:
        """What the network itself says of one request's L candidates: raw outputs [L] by task.

        Nearly all of it is outside the lock of Python's interpreter, so that other threads go on.
        """
        return self._bundle.raw_outputs(request, items)

    def calibrate(self, raw: Outputs) -> Outputs:
        """Calibrated outputs [L] by name, derived ones included, of raw ones."""
        return self._bundle.calibration.apply(raw)

    def _warm(self, golden: pa.Table, max_candidates: int, rest: Rest) -> None:
        """Pay for what the first calls of every bucket cost before any request does."""
        start = perf_counter()
        request, items = self._bundle.encoder.encode_columns(golden)
        first = request.take(np.zeros(1, np.int64)).tensors()
        sizes = bucket_sizes(max_candidates)
        for size in [sizes[0]] * _WARM_ROUNDS + sizes:
            self.score_encoded(first, items.take(np.arange(size) % golden.num_rows).tensors())
            rest()
        logger.info(
            "model is warm",
            extra={"version": self.version, "engine": self.name, "seconds": round(perf_counter() - start, 3)},
        )

    def _verify_requests(self, golden: pa.Table, rest: Rest) -> None:
        """Golden rows once more, the way a request takes: plain values, one user, one candidate."""
        for row in range(min(golden.num_rows, _NUM_CHECKED_ROWS)):
            item = _columns(golden.slice(row, 1), self.schema.columns("item")) or {"": [None]}
            try:
                request = self.encode_request(self._request(golden, row))
                raw = self._bundle.raw_outputs(request, self._bundle.encoder.encode_side(item, "item"))
            except RankerError as exc:
                raise BundleError(f"golden row {row} of version '{self.version}' cannot be served: {exc}") from exc
            _, wrong = self._bundle.compare(raw, golden.slice(row, 1))
            if wrong is not None:
                raise BundleError(
                    f"'{wrong.output}' of golden row {row} must be {wrong.expected:.8g}, this server gives "
                    f"{wrong.found:.8g}; do not serve version '{self.version}': publish the bundle again, or roll back"
                )
            rest()

    def _request(self, golden: pa.Table, row: int) -> dict[str, Any]:
        names = (*self.schema.columns("user"), *self.schema.columns("context"))
        return {name: golden.column(name)[row].as_py() for name in names}


def _compiled(bundle: Bundle, name: EngineName) -> tuple[Bundle, EngineName]:
    """The bundle with what is to compute, and its name."""
    if name == "torchscript":
        return bundle, name
    problem, level = bundle.misfit("aotinductor"), logging.INFO if name == "auto" else logging.WARNING
    if problem is None:
        try:
            return bundle.compiled("aotinductor"), "aotinductor"
        except BundleError as exc:  # as it was exported, and yet: a volume that is mounted noexec, a library that lacks
            problem, level = str(exc), logging.WARNING
    logger.log(level, "scoring by TorchScript", extra={"version": bundle.manifest.version, "reason": problem})
    return bundle, "torchscript"


def _columns(rows: pa.Table, names: Sequence[str]) -> dict[str, list[Any]]:
    return {name: rows.column(name).to_pylist() for name in names}
