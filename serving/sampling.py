"""A sample of what is ranked: what the model says of candidates, and which features they lack."""

from __future__ import annotations

import numpy as np

from serving.answers import Fused, Job, missing_features
from serving.metrics import Metrics

_EVERY = 16  # rankings
_MOST = 16  # candidates of one of them


class Sample:
    """Shows metrics some candidates of every 16th ranking: all of them would cost more than some models do.

    The first ranking is one of them, so that a server that has just begun has something to show.
    """

    def __init__(self, metrics: Metrics) -> None:
        self._metrics = metrics
        self._num_rankings = 0

    def offer(self, job: Job, fused: Fused) -> None:
        """A ranking was made."""
        if self._num_rankings % _EVERY == 0:
            self._take(job, fused)
        self._num_rankings += 1

    def _take(self, job: Job, fused: Fused) -> None:
        num_candidates = len(fused.scores_L)
        places = np.unique(np.linspace(0, num_candidates - 1, min(_MOST, num_candidates)).astype(np.intp))
        outputs = {name: values_L[places] for name, values_L in fused.outputs.items()}
        self._metrics.sample(outputs, [missing_features(job.engine.schema, fused, int(place)) for place in places])
