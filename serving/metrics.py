"""What an operator counts and times: Prometheus metrics of one server, or of all workers of one."""

from __future__ import annotations

import os
import platform
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest, values
from prometheus_client.multiprocess import MultiProcessCollector

from serving.memory import private_bytes
from serving.timeline import Timeline

_SECONDS = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0)
_OUTPUTS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.2, 0.3, 0.5, 0.7, 0.9, 1.0, 10.0, 100.0, 1000.0)


class SharedFolder(NamedTuple):
    """What the workers of one server have in common: their figures, each in files of its own, and whose turn it is.

    A worker that takes the place of a dead one goes on with its files: counters go on growing, and there are never
    more files than places.

    Attributes:
        path: Of the folder.
        place: Number of this worker, from 0.
    """

    path: Path
    place: int

    @property
    def turn(self) -> Path:
        """File by which they take turns."""
        return self.path / "turn.lock"

    def enter(self) -> None:
        """Keep the figures of this process there from now on. Before the first `Metrics` of the process is made."""
        for file in self.path.glob(f"gauge_*_{self.place}.db"):
            file.unlink()  # what a gauge said ended with the worker that said it
        os.environ["PROMETHEUS_MULTIPROC_DIR"] = str(self.path)
        values.ValueClass = values.MultiProcessValue(lambda: self.place)  # type: ignore[no-untyped-call]


class Metrics:
    """The metrics of one server, in a registry of their own.

    Args:
        version: Of the program.
        shared: Where other workers keep theirs; `None` if this process is the whole server.
    """

    def __init__(self, version: str = "0", shared: SharedFolder | None = None) -> None:
        self.registry = CollectorRegistry()
        self._shared = shared
        self._version: str | None = None
        self.requests = self._counter("requests", "HTTP requests.", "route", "method", "status")
        self.request_seconds = self._histogram("request_seconds", "Whole HTTP requests.", _SECONDS, "route")
        self.stage_seconds = self._histogram(
            "stage_seconds",
            "Steps of a ranking: decode, features, encode, queue, score, fuse, serialise.",
            _SECONDS,
            "stage",
        )
        self.waiting = self._gauge("waiting", "Ranking requests taken in and not yet answered.")
        self.refused = self._counter("refused", "Ranking requests refused before they were read.")
        self.candidates = self._counter("candidates", "Candidates ranked.")
        self.missing_users = self._counter("missing_users", "Rankings without features of the user.")
        self.missing_items = self._counter("missing_items", "Candidates without features in the store.")
        self.rankings = self._counter("rankings", "Rankings made.")
        self.degraded = self._counter("degraded", "Rankings that were not as they should be, by reason.", "reason")
        self.outputs = self._histogram("output", "Calibrated outputs of a sample of candidates.", _OUTPUTS, "output")
        self.sampled = self._counter("sampled_candidates", "Candidates in that sample.")
        self.missing_features = self._counter(
            "missing_features", "Candidates of the sample that a feature had no value for.", "feature"
        )
        self.store_open = self._gauge("store_breaker_open", "Workers that leave the failing feature store alone.")
        self.item_changes = self._counter("item_changes", "Changed items taken over from the store.")
        self.item_tables = self._counter("item_tables_built", "Item tables built; other workers map them.")
        self.item_table_failures = self._counter("item_table_failures", "Item tables that could not be built.")
        self.reload_failures = self._counter("reload_failures", "Bundles that were refused.")
        self.events = self._counter("logged_events", "Rows written to the request log.", "kind")
        self.log_failures = self._counter("log_failures", "Writes of the request log that failed.")
        self.private_bytes = self._gauge("private_bytes", "Memory that a worker shares with no other.", "worker")
        self._model = self._gauge("model_info", "Workers in which a model is live.", "version")
        build = self._gauge("build_info", "Workers that run a build.", "version", "python", "torch")
        build.labels(version, platform.python_version(), torch.__version__).set(1)

    def model_live(self, version: str) -> None:
        """Another model went live."""
        if self._version is not None and self._version != version:
            if self._shared is None:
                self._model.remove(self._version)
            else:
                self._model.labels(self._version).set(0)  # shared files cannot forget a label
        self._version = version
        self._model.labels(version).set(1)

    def ranked(self, num_candidates: int, missing: Mapping[str, int], degraded: Iterable[str]) -> None:
        """A ranking was made; `missing` and `degraded` as its answer says."""
        self.rankings.inc()
        self.candidates.inc(num_candidates)
        self.missing_users.inc(missing["user"])
        self.missing_items.inc(missing["items"])
        for reason in degraded:
            self.degraded.labels(reason).inc()

    def sample(self, outputs: Mapping[str, np.ndarray], missing: Iterable[Iterable[str]]) -> None:
        """What a model said of some candidates, and which features each of them lacked."""
        for name, values_L in outputs.items():
            histogram = self.outputs.labels(name)
            for value in values_L.tolist():
                histogram.observe(value)
        for features in missing:
            self.sampled.inc()
            for feature in features:
                self.missing_features.labels(feature).inc()

    def stages(self, timeline: Timeline) -> None:
        """How long the steps of a request took."""
        for step in timeline.steps:
            self.stage_seconds.labels(step.name).observe(step.seconds)

    def memory(self) -> None:
        """How much memory this worker shares with no other, as of now. Takes some milliseconds; from a thread."""
        place = self._shared.place if self._shared else 0
        self.private_bytes.labels(str(place)).set(private_bytes())

    def exposition(self) -> bytes:
        """All metrics as Prometheus reads them: of all workers, whichever of them is asked."""
        if self._shared is None:
            return generate_latest(self.registry)
        together = CollectorRegistry()
        MultiProcessCollector(together, path=str(self._shared.path))  # type: ignore[no-untyped-call]
        return generate_latest(together)

    def _counter(self, name: str, text: str, *labels: str) -> Counter:
        return Counter(f"ranker_{name}", text, labels, registry=self.registry)

    def _gauge(self, name: str, text: str, *labels: str) -> Gauge:
        """A gauge whose workers add up."""
        return Gauge(f"ranker_{name}", text, labels, registry=self.registry, multiprocess_mode="livesum")

    def _histogram(self, name: str, text: str, buckets: tuple[float, ...], *labels: str) -> Histogram:
        return Histogram(f"ranker_{name}", text, labels, registry=self.registry, buckets=buckets)
