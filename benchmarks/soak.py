"""Half an hour of rankings at 70 % of the peak, with new models and changed features: what stays as it was?

    python -m benchmarks.soak                    # half an hour; figures and plot
    python -m benchmarks.soak --minutes 3        # prints the same, and keeps it nowhere
    python -m benchmarks.soak --plot             # the plot of the figures that are kept

A server of two workers serves a shop; every twenty seconds its other model goes live, every second some users and
items change, and so many do that about twice a minute a new item table is built. Each line is ten seconds: rankings per
second, percentiles of the time to an answer from the moment when it was to be asked for, what was not a whole ranking,
the memory that workers share with nobody, and how often another model has been made current by then.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import tempfile
import time
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.support.fault_scene import Fault, Scene, staged
from benchmarks.support.results import RESULTS, write_results
from benchmarks.support.shop import Shop
from benchmarks.support.soak_plot import plot_soak
from benchmarks.support.watch import Watch
from feature_store import parse_store
from serving.bench import OpenLoop, find_peak

PLOT = Path(__file__).parent.parent / "docs" / "images" / "soak.svg"
_SHARE_OF_PEAK = 0.7
_SWAP_SECONDS, _CHANGE_SECONDS = 20.0, 1.0
_CHANGED = 50  # users, and items, each time
_MAX_CHANGED = 750  # of a thousand items: more make a new table
_SLICE_SECONDS = 10.0


@dataclass
class Soak:
    """Slices of a run so far.

    Attributes:
        slices: One dict each, JSON.
        swaps: Models that were made current.
    """

    scene: Scene
    slices: list[dict[str, Any]] = field(default_factory=list)
    swaps: int = 0

    async def run(self, per_second: float, seconds: float) -> None:
        """Ask at a rate, slice by slice, while models and features change."""
        begin = time.perf_counter()
        changing = [asyncio.create_task(self._swap()), asyncio.create_task(self._change())]
        try:
            while (at := time.perf_counter() - begin) < seconds:
                watch = Watch()
                loop = OpenLoop(self.scene.connections, self.scene.bodies, observe=watch)
                since = time.perf_counter()
                summary = await loop.run(per_second, _SLICE_SECONDS, seed=len(self.slices))
                abnormal = Counter(watch.since(since).abnormal)
                row = {
                    "minute": round(at / 60, 2),
                    "ranked_per_second": summary.ranked_per_second,
                    "milliseconds": dict(summary.ranked_ms),
                    "abnormal": dict(abnormal),
                    "private_megabytes": round(self.scene.workers.private_megabytes(), 1),
                    "swaps": self.swaps,
                }
                self.slices.append(row)
                print(_line(row), flush=True)
                for task in changing:
                    if task.done():
                        task.result()  # what ended it is raised
        finally:
            for task in changing:
                task.cancel()
            await asyncio.gather(*changing, return_exceptions=True)

    async def _swap(self) -> None:
        versions = self.scene.shop.versions
        while True:
            await asyncio.sleep(_SWAP_SECONDS)
            await asyncio.to_thread(self.scene.workers.activate, versions[self.swaps % 2])
            self.swaps += 1

    async def _change(self) -> None:
        random = np.random.default_rng(0)
        async with parse_store(self.scene.shop.store).build() as store:
            while True:
                await asyncio.sleep(_CHANGE_SECONDS)
                users = {f"u{number}" for number in random.integers(0, 5_000, _CHANGED)}
                items = {f"i{number}" for number in random.integers(0, 1_000, _CHANGED)}
                await store.update_many("user", [(user, {"age": int(random.integers(18, 90))}, None) for user in users])
                await store.update_many(
                    "item", [(item, {"price": float(random.uniform(1, 90))}, None) for item in items]
                )


def main() -> None:
    """Run, print, keep and plot."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--minutes", type=float, default=30.0, help="how long; only a whole run of 30 is kept")
    parser.add_argument("--rate", type=float, help="requests per second; left out: 70 %% of the peak, which is found")
    parser.add_argument("--plot", action="store_true", help="only plot the figures that are kept")
    arguments = parser.parse_args()
    if arguments.plot:
        plot_soak(json.loads((RESULTS / "soak.json").read_text(encoding="utf-8")), PLOT)
        return
    figures = asyncio.run(_soak(arguments.minutes, arguments.rate))
    print(_verdict(figures))
    if arguments.minutes >= 30:
        print(f"written to {write_results('soak', figures)}")
        plot_soak(figures, PLOT)


async def _soak(minutes: float, rate: float | None) -> dict[str, Any]:
    shop = Shop.at(Path(tempfile.gettempdir()) / "ranker-shop")
    with tempfile.TemporaryDirectory(prefix="ranker-soak-") as folder:
        quiet = Fault("soak", _nothing, environment=lambda _: {"RANKER_ITEM_TABLE__MAX_CHANGED": str(_MAX_CHANGED)})
        async with staged(quiet, shop, Path(folder) / "soak") as scene:
            loop = OpenLoop(scene.connections, scene.bodies)
            peak = None if rate else (await find_peak(lambda asked: loop.run(asked, 8.0), 25.0, 5_000.0))
            per_second = rate or _SHARE_OF_PEAK * (peak.ranked_per_second if peak else 0.0)
            print(f"{per_second:.0f} requests per second" + (f", 70 % of {peak.ranked_per_second:.0f}" if peak else ""))
            soak = Soak(scene)
            await soak.run(per_second, minutes * 60)
            return {
                "per_second": per_second,
                "minutes": minutes,
                "swaps": soak.swaps,
                "tables": [line["message"] for line in scene.workers.lines()].count("item table built"),
                "slices": soak.slices,
            }


async def _nothing(_: Scene) -> str:
    return ""


def _line(row: dict[str, Any]) -> str:
    times = " ".join(f"{name} {row['milliseconds'].get(name, float('nan')):7.1f}" for name in ("p50", "p99", "p100"))
    return (
        f"{row['minute']:6.2f} min {row['ranked_per_second']:7.1f}/s  {times} ms  {row['private_megabytes']:7.1f} MB  "
        f"{row['swaps']:3d} swaps  {row['abnormal'] or ''}"
    )


def _verdict(figures: dict[str, Any]) -> str:
    slices = figures["slices"]
    abnormal = sum((Counter(row["abnormal"]) for row in slices), Counter[str]())
    memory = [row["private_megabytes"] for row in slices]
    third = max(1, len(slices) // 3)
    p99 = np.array([row["milliseconds"].get("p99", np.nan) for row in slices])
    swapped = np.diff([row["swaps"] for row in slices], prepend=0) > 0
    return (
        f"{figures['swaps']} swaps, {figures['tables']} item tables built; not a whole ranking: "
        f"{dict(abnormal) or 'none'}; median p99 {_median(p99[swapped])} ms where a model was swapped, "
        f"{_median(p99[~swapped])} ms elsewhere; first and last third: p99 {_median(p99[:third])} and "
        f"{_median(p99[-third:])} ms, private memory {np.median(memory[:third]):.0f} and "
        f"{np.median(memory[-third:]):.0f} MB"
    )


def _median(values: np.ndarray[tuple[int], np.dtype[np.float64]]) -> str:
    return f"{np.median(values):.1f}" if len(values) else "-"


if __name__ == "__main__":
    main()
