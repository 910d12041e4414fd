"""The figures of `benchmarks.serve` as the tables of `docs/serving/speed.md`."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from statistics import median
from typing import Any

from benchmarks.support.ranking_servers import OURS

Contests = Mapping[str, Mapping[str, Any]]
_RATIOS = (
    ("requests_per_second", "Requests per second of ours, times theirs"),
    ("p99_ms", "p99 of ours, as a share of theirs"),
    ("cpu_ms", "Processor time per request of ours, as a share of theirs"),
)


def markdown(contests: Contests) -> str:
    """All tables."""
    tables = [_speed(contests, body) for body in ("ids", "features")]
    tables += [_ratios(contests, figure, title) for figure, title in _RATIOS]
    return "\n\n".join([*tables, _memory(contests)])


def _speed(contests: Contests, body: str) -> str:
    """Every server by number of connections; ours is the median over all contests."""
    loads = _loads(contests, body)
    head = [f"{n} connection{'s' * (n > 1)}: requests/s, p50, p99, processor ms" for n in loads]
    title = {"ids": "Ids only; the server reads the features", "features": "Features of the candidates in the body"}
    lines = [f"{title[body]}:", "", *_head("server", head)]
    lines.append(_row(OURS, [_ours(contests, body, n) for n in loads]))
    for name, contest in contests.items():
        lines.append(_row(name, [_cell(contest, body, n) for n in loads]))
    return "\n".join(lines)


def _ratios(contests: Contests, figure: str, title: str) -> str:
    places = [(body, n) for body in ("ids", "features") for n in _loads(contests, body)]
    lines = [f"{title}:", "", *_head("server", [f"{body}, {n}" for body, n in places])]
    for name, contest in contests.items():
        found = [_find(contest, body, n) for body, n in places]
        lines.append(_row(name, ["" if cell is None else f"{cell[f'ratio_{figure}']:.2f}" for cell in found]))
    return "\n".join(lines)


def _memory(contests: Contests) -> str:
    """Largest processes first; of the last round."""
    lines = ["Memory after the loads, MB:", "", *_head("server", ["private, by process", "all, shared pages once"])]
    for name, measured in _last_rounds(contests).items():
        private = ", ".join(f"{process['private']:.0f}" for process in measured["memory_mb"])
        total = sum(process["proportional"] for process in measured["memory_mb"])
        lines.append(_row(name, [private, f"{total:.0f}"]))
    return "\n".join(lines)


def _last_rounds(contests: Contests) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for contest in contests.values():
        found |= {name: rounds[-1] for name, rounds in contest["measured"].items()}
    return found


def _ours(contests: Contests, body: str, connections: int) -> str:
    cells = [cell for contest in contests.values() if (cell := _find(contest, body, connections))]
    names = ("requests_per_second", "p50_ms", "p99_ms", "cpu_ms")
    return _figures(*(median(cell[f"ours_{name}"] for cell in cells) for name in names))


def _cell(contest: Mapping[str, Any], body: str, connections: int) -> str:
    cell = _find(contest, body, connections)
    if cell is None:
        return ""
    return _figures(cell["requests_per_second"], cell["p50_ms"], cell["p99_ms"], cell["cpu_ms"])


def _figures(rate: float, p50: float, p99: float, cpu: float) -> str:
    return f"{rate:.0f}, {p50:.1f}, {p99:.1f}, {cpu:.1f}"


def _find(contest: Mapping[str, Any], body: str, connections: int) -> Mapping[str, Any] | None:
    for cell in contest["summary"]:
        if (cell["body"], cell["connections"]) == (body, connections):
            found: Mapping[str, Any] = cell
            return found
    return None


def _loads(contests: Contests, body: str) -> list[int]:
    """Numbers of connections that any contest has."""
    cells = (cell for contest in contests.values() for cell in contest["summary"])
    return sorted({cell["connections"] for cell in cells if cell["body"] == body})


def _head(first: str, columns: Sequence[str]) -> list[str]:
    return [_row(first, columns), "|---" * (len(columns) + 1) + "|"]


def _row(first: str, cells: Iterable[str]) -> str:
    return f"| {' | '.join([first, *cells])} |"
