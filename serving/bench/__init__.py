"""A load generator: ranking requests at a rate that does not wait for the server, and what became of each.

Example:
    >>> workload = Workload(users=Ids.numbered("u{}", 30), items=Ids.numbered("i{}", 200), num_candidates=(5, 50))
    >>> len(workload.bodies(count=7, seed=1))
    7

`ranker-serve bench URL` runs it.
"""

from serving.bench.connections import Connections
from serving.bench.open_loop import Arrivals, OpenLoop
from serving.bench.outcomes import Outcomes, Summary
from serving.bench.sweep import find_peak
from serving.bench.workload import Ids, Workload

__all__ = ["Ids", "Workload", "Arrivals", "OpenLoop", "Connections", "Outcomes", "Summary", "find_peak"]
