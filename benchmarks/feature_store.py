"""Reading the features of 500 items: from LMDB and Redis, against Feast's online read of the same rows.

    python -m benchmarks.feature_store
    python -m benchmarks.feature_store --markdown    # the table of the figures that are kept

12 columns (six texts, five numbers, a list of texts) of 50,000 items, asked for at random, 500 at once, by one reader
at a time, each in a process of its own; in turn, round by round. Every reader gives columns of Python values, and all
must give the same. Ours has two ways: columns, and rows from which columns are made. Times are by the clock; beside
them, of the reader's processor, which change less where other programs run. Feast gets an environment of its own,
build/peers/feast.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import random
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from datetime import UTC, datetime
from pathlib import Path
from statistics import median
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from benchmarks.support.peer_environments import python_of
from benchmarks.support.redis_process import RedisProcess
from benchmarks.support.results import RESULTS, write_results
from feature_store import materialize, parse_store

ROOT = Path(__file__).parent.parent
KEPT = RESULTS / "feature_store.json"
CLOCKS = ("clock", "processor")
PAIRS = {"LMDB": "Feast, SQLite", "Redis": "Feast, Redis"}  # embedded against embedded, server against server

Times = tuple[float, float]  # milliseconds by each of `CLOCKS`


class Reader:
    """A process that reads.

    Args:
        command: What starts it.
    """

    def __init__(self, command: Sequence[str]) -> None:
        pipe = subprocess.PIPE
        self._process = subprocess.Popen(
            command, cwd=ROOT, stdin=pipe, stdout=pipe, stderr=subprocess.DEVNULL, text=True
        )
        if self._line() != "ready":
            raise RuntimeError(f"{' '.join(command)} did not start")

    def read(self, requests: Sequence[Sequence[str]]) -> tuple[list[Times], dict[str, list[Any]]]:
        """How long each request took, and the columns of the last."""
        assert self._process.stdin is not None
        print(json.dumps(requests), file=self._process.stdin, flush=True)
        answer = self._line()
        return [(clock, processor) for clock, processor in answer["times"]], answer["columns"]

    def stop(self) -> None:
        """Let it end."""
        self._process.communicate()

    def _line(self) -> Any:
        assert self._process.stdout is not None
        return json.loads(self._process.stdout.readline() or "null")


def write_items(path: Path, num_items: int) -> None:
    """Items as a shop has them."""
    choose = random.Random(0)
    columns: dict[str, Any] = {"item_id": [f"item{n}" for n in range(num_items)]}
    for number in range(6):
        columns[f"category{number}"] = [f"value{choose.randrange(10 ** (number + 1))}" for _ in range(num_items)]
    for number in range(5):
        columns[f"number{number}"] = [choose.random() for _ in range(num_items)]
    columns["tags"] = [[f"tag{choose.randrange(99)}" for _ in range(4)] for _ in range(num_items)]
    now = pa.array([datetime.now(UTC)] * num_items, pa.timestamp("us", "UTC"))
    pq.write_table(pa.table(columns).append_column("event_timestamp", now), path)


@contextmanager
def readers(items: Path, folder: Path) -> Iterator[dict[str, Reader]]:
    """Every contestant, filled with the items and ready to read."""
    columns = [name for name in pq.read_schema(items).names if name not in ("item_id", "event_timestamp")]
    servers = {name: RedisProcess(folder / name) for name in ("ours", "feast")}
    stores = {"LMDB": f"lmdb:{folder / 'lmdb'}", "Redis": servers["ours"].store}
    with ExitStack() as stack:
        for server in servers.values():
            server.start()
            stack.callback(server.stop)
        commands: dict[str, list[str]] = {}
        for name, store in stores.items():
            asyncio.run(_fill(store, items, columns))
            for label, shape in ((name, "columns"), (f"{name}, as rows", "rows")):
                commands[label] = [sys.executable, "-m", "benchmarks.support.feature_reads", store, shape]
        feast = [str(python_of("feast")), "-W", "ignore", "-m", "benchmarks.peers.feast.reader", str(items)]
        for name, arguments in (("SQLite", ["sqlite"]), ("Redis", ["redis", f"127.0.0.1:{servers['feast'].port}"])):
            (folder / f"feast-{name}").mkdir()
            commands[f"Feast, {name}"] = [*feast, str(folder / f"feast-{name}"), *arguments]
        started = {}
        for name, command in commands.items():
            started[name] = Reader(command)
            stack.callback(started[name].stop)
        yield started


async def _fill(store_text: str, items: Path, columns: Sequence[str]) -> None:
    async with parse_store(store_text).build() as store:
        await materialize(store, "item", [items], key="item_id", event_time="event_timestamp", columns=columns)


def compete(started: dict[str, Reader], num_items: int, rounds: int, num_reads: int) -> dict[str, list[list[Times]]]:
    """How long each read took, by contestant and round; all must give the same columns."""
    choose = random.Random(1)
    found: dict[str, list[list[Times]]] = {name: [] for name in started}
    for number in range(-1, rounds):  # the first one warms up
        requests = [[f"item{n}" for n in choose.sample(range(num_items), 500)] for _ in range(num_reads)]
        expected = None
        for name, reader in started.items():
            times, columns = reader.read(requests)
            columns.pop("item_id", None)
            expected = expected or columns
            if columns != expected:
                raise RuntimeError(f"{name} gives other values than {next(iter(started))}")
            if number >= 0:
                found[name].append(times)
    return found


def summary(found: dict[str, list[list[Times]]]) -> dict[str, dict[str, float]]:
    """Medians by each clock, and how many times as long as ours of the same kind, of each round the medians."""
    lines: dict[str, dict[str, float]] = {name: {} for name in found}
    for place, clock in enumerate(CLOCKS):
        medians = {name: [median(read[place] for read in reads) for reads in rounds] for name, rounds in found.items()}
        for name, of_rounds in medians.items():
            lines[name][f"{clock}_ms"] = median(of_rounds)
        for ours, feast in PAIRS.items():
            pairs = zip(medians[feast], medians[ours], strict=True)
            lines[feast][f"{clock}_times_ours"] = median(theirs / mine for theirs, mine in pairs)
    return lines


def markdown(lines: dict[str, dict[str, float]]) -> str:
    """The table of `docs/feature_store.md`."""
    table = ["| 500 items from | by the clock, ms | times ours | processor, ms | times ours |", "|---|---|---|---|---|"]
    for name, line in lines.items():
        cells = []
        for clock in CLOCKS:
            ratio = line.get(f"{clock}_times_ours")
            cells += [f"{line[f'{clock}_ms']:.2f}", "" if ratio is None else f"{ratio:.1f}"]
        table.append(f"| {name} | {' | '.join(cells)} |")
    return "\n".join(table)


def main() -> None:
    """Measure, print and keep."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--items", type=int, default=50_000)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--reads", type=int, default=40, help="in each round, by each reader")
    parser.add_argument("--markdown", action="store_true", help="print the figures that are kept, and end")
    asked = parser.parse_args()
    if asked.markdown:
        print(markdown(json.loads(KEPT.read_bytes())["summary"]))
        return
    with tempfile.TemporaryDirectory() as name:
        items = Path(name) / "items.parquet"
        write_items(items, asked.items)
        with readers(items, Path(name)) as started:
            found = compete(started, asked.items, asked.rounds, asked.reads)
    lines = summary(found)
    print(markdown(lines))
    sizes = {"num_items": asked.items, "rounds": asked.rounds, "reads": asked.reads}
    print(f"kept in {write_results('feature_store', {**sizes, 'summary': lines})}")


if __name__ == "__main__":
    main()
