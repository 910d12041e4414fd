"""The figures of `benchmarks.serve` as the tables of `docs/serving/speed.md`."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from statistics import median
from typing import Any

from benchmarks.support.ranking_servers import OURS

Contests = Mapping[str, Mapping[str, Any]]
Cell = Mapping[str, Any]

FIGURES = ("requests_per_second", "p50_ms", "p99_ms", "cpu_ms")
_BODIES = {"ids": "Ids only, the server reads the features", "features": "Features of the candidates in the body"}
_RATIOS = {
    "requests_per_second": "Requests per second",
    "p50_ms": "p50",
    "p99_ms": "p99",
    "cpu_ms": "Processor time per request",
}


def markdown(contests: Contests) -> str:
    """All tables."""
    tables = [_speed(contests, body) for body in _BODIES if _loads(contests, body)]
    tables += [_ratios(contests, figure) for figure in FIGURES]
    return "\n\n".join([*tables, _spread(contests), _memory(contests)])


def _speed(contests: Contests, body: str) -> str:
    """Every server by number of connections; ours is the median over all contests."""
    loads = _loads(contests, body)
    lines = _begin(f"{_BODIES[body]}: requests/s, p50 and p99 in ms, processor ms per request", _connections(loads))
    for name, cells in _servers(contests).items():
        found = [cells.get((body, load)) for load in loads]
        lines.append(_row(name, ["" if cell is None else _figures(cell) for cell in found]))
    return "\n".join(lines)


def _ratios(contests: Contests, figure: str) -> str:
    """A figure of ours as a multiple of each other server's."""
    places = _places(contests)
    title = f"{_RATIOS[figure]} of ours with one worker and LMDB, as a multiple of the other's of the same round"
    lines = _begin(title, [f"{body}, {load}" for body, load in places])
    for name, contest in contests.items():
        ratios = {_place(cell): cell[f"ratio_{figure}"] for cell in contest["summary"]}
        lines.append(_row(name, [f"{ratios[place]:.2f}" if place in ratios else "" for place in places]))
    return "\n".join(lines)


def _spread(contests: Contests) -> str:
    """How much longer than most the slowest wait."""
    places = _places(contests)
    lines = _begin("p99 as a multiple of p50", [f"{body}, {load}" for body, load in places])
    for name, cells in _servers(contests).items():
        found = [cells.get(place) for place in places]
        lines.append(_row(name, ["" if cell is None else f"{cell['p99_ms'] / cell['p50_ms']:.2f}" for cell in found]))
    return "\n".join(lines)


def _memory(contests: Contests) -> str:
    """Largest processes first; of the last round."""
    lines = _begin("Memory after the loads, MB", ["private, by process", "all, shared pages once"])
    last = {name: rounds[-1] for contest in contests.values() for name, rounds in contest["measured"].items()}
    for name, measured in last.items():
        private = ", ".join(f"{process['private']:.0f}" for process in measured["memory_mb"])
        total = sum(process["proportional"] for process in measured["memory_mb"])
        lines.append(_row(name, [private, f"{total:.0f}"]))
    return "\n".join(lines)


def _servers(contests: Contests) -> dict[str, dict[tuple[str, int], Cell]]:
    """Figures of every server by place, ours first: there the median over all contests."""
    ours: dict[tuple[str, int], list[Cell]] = {}
    others: dict[str, dict[tuple[str, int], Cell]] = {}
    for name, contest in contests.items():
        others[name] = {_place(cell): cell for cell in contest["summary"]}
        for place, cell in others[name].items():
            ours.setdefault(place, []).append({figure: cell[f"ours_{figure}"] for figure in FIGURES})
    medians: dict[tuple[str, int], Cell] = {
        place: {figure: median(cell[figure] for cell in cells) for figure in FIGURES} for place, cells in ours.items()
    }
    return {OURS: medians, **others}


def _figures(cell: Cell) -> str:
    return f"{cell['requests_per_second']:.0f}, {cell['p50_ms']:.1f}, {cell['p99_ms']:.1f}, {cell['cpu_ms']:.1f}"


def _place(cell: Cell) -> tuple[str, int]:
    return cell["body"], cell["connections"]


def _places(contests: Contests) -> list[tuple[str, int]]:
    return [(body, load) for body in _BODIES for load in _loads(contests, body)]


def _loads(contests: Contests, body: str) -> list[int]:
    """Numbers of connections that any contest has."""
    cells = (cell for contest in contests.values() for cell in contest["summary"])
    return sorted({cell["connections"] for cell in cells if cell["body"] == body})


def _connections(loads: Sequence[int]) -> list[str]:
    return [f"{load} connection{'s' * (load > 1)}" for load in loads]


def _begin(title: str, columns: Sequence[str]) -> list[str]:
    return [f"{title}:", "", _row("server", columns), "|---" * (len(columns) + 1) + "|"]


def _row(first: str, cells: Iterable[str]) -> str:
    return f"| {' | '.join([first, *cells])} |"
