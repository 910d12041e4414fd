"""What callers see when something breaks: real server processes under a steady load, hurt in every way that we know.

    python -m benchmarks.faults                     # some minutes; prints the table, keeps the figures
    python -m benchmarks.faults --only redis        # the faults whose name begins so; keeps the others' figures
    python -m benchmarks.faults --markdown          # the table of the figures that are kept

A server of two workers ranks for a load that does not wait for it. Each fault begins when the load has run for a
while; the table says what callers saw from then on, and how long it took until every answer was whole again. Then
callers ask a server of one worker, with a core of its own, ten times as often as it can answer; and two models take
turns two hundred times. What needs root (a disk of its own) or a C compiler (a clock of its own) is left out where
those are not there.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import shutil
import tempfile
from pathlib import Path
from typing import Any

from benchmarks.support.fault_kinds import FAULTS
from benchmarks.support.fault_scene import Fault, Witnessed, staged, witness
from benchmarks.support.overload import Overload, Swaps, overload, swaps
from benchmarks.support.results import RESULTS, write_results
from benchmarks.support.shop import Shop

FOLDER = Path(tempfile.gettempdir()) / "ranker-shop"
_OVERLOAD, _SWAPS = "10 times the load it can take", "two models in turn"
_FEW_CHANGES = {"RANKER_ITEM_TABLE__MAX_CHANGED": "50", "RANKER_POLL_SECONDS": "0.05"}


def main() -> None:
    """Run the faults and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", default="", help="faults whose name begins so")
    parser.add_argument("--swaps", type=int, default=200, help="how often another model goes live")
    parser.add_argument("--folder", type=Path, default=FOLDER, help="where the shop is kept between runs")
    parser.add_argument("--markdown", action="store_true", help="print the kept figures as the documentation has them")
    arguments = parser.parse_args()
    if arguments.markdown:
        print(_markdown(json.loads((RESULTS / "faults.json").read_text(encoding="utf-8"))["faults"]))
        return
    rows = asyncio.run(_all(Shop.at(arguments.folder), arguments.only, arguments.swaps))
    print("\n" + _markdown(rows))
    print(f"\nwritten to {write_results('faults', {'faults': _together(rows)})}")


def _together(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """These rows in the place of earlier ones of the same faults."""
    path = RESULTS / "faults.json"
    kept = json.loads(path.read_text(encoding="utf-8"))["faults"] if path.exists() else []
    newest = {row["fault"]: row for row in (*kept, *rows)}
    order = [fault.name for fault in FAULTS] + [_OVERLOAD]
    return sorted(newest.values(), key=lambda row: order.index(row["fault"]) if row["fault"] in order else len(order))


async def _all(shop: Shop, only: str, num_swaps: int) -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = []
    folder = Path(tempfile.mkdtemp(prefix="ranker-faults-"))
    try:
        for fault in FAULTS:
            if fault.name.startswith(only):
                rows.append(await _row(fault, shop, folder))
                print(json.dumps(rows[-1]), flush=True)
        if _OVERLOAD.startswith(only):
            async with staged(Fault(_OVERLOAD, _nothing, num_workers=1), shop, folder / "overload") as scene:
                rows.append(_overload_row(await overload(scene)))
            print(json.dumps(rows[-1]), flush=True)
        if _SWAPS.startswith(only):
            quiet = Fault(_SWAPS, _nothing, environment=lambda _: _FEW_CHANGES)
            async with staged(quiet, shop, folder / "swaps") as scene:
                rows.append(_swaps_row(await swaps(scene, num_swaps)))
            print(json.dumps(rows[-1]), flush=True)
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    return rows


async def _nothing(_: object) -> str:
    return ""


async def _row(fault: Fault, shop: Shop, folder: Path) -> dict[str, Any]:
    if obstacle := fault.obstacle():
        return {"fault": fault.name, "note": f"not tried: {obstacle}"}
    found: Witnessed = await witness(fault, shop, folder / "fault")
    return {"fault": fault.name, **found.seen._asdict(), "note": found.note}


def _overload_row(found: Overload) -> dict[str, Any]:
    refused = found.under.refused_ms
    return {
        "fault": _OVERLOAD,
        "requests": sum(found.under.answers.values()),
        "abnormal": {status: number for status, number in found.under.answers.items() if status != "200"},
        "peak": found.peak._asdict(),
        "under": found.under._asdict(),
        "kept": round(found.kept, 3),
        "note": f"{found.kept:.0%} of the peak's {found.peak.ranked_per_second:.0f} rankings per second; "
        f"refused within {refused.get('p50', 0):.0f} ms (p50), {refused.get('p99', 0):.0f} ms (p99)",
    }


def _swaps_row(found: Swaps) -> dict[str, Any]:
    return {
        "fault": f"{_SWAPS}, {found.activations} times",
        **found.seen._asdict(),
        "settled_megabytes": round(found.settled_megabytes, 1),
        "megabytes": round(found.megabytes, 1),
        "note": f"workers took over {found.went_live} models and built {found.tables_built} item tables; "
        f"private memory {found.settled_megabytes:.0f} MB after 40 swaps, {found.megabytes:.0f} MB after all",
    }


def _markdown(rows: list[dict[str, Any]]) -> str:
    lines = ["| fault | what callers saw | until normal | |", "|---|---|---|---|"]
    for row in rows:
        seen = "-" if "requests" not in row else _seen(row)
        until = f"{row['normal_after_seconds']:.1f} s" if "normal_after_seconds" in row else "-"
        lines.append(f"| {row['fault']} | {seen} | {until} | {row['note']} |")
    return "\n".join(lines)


def _seen(row: dict[str, Any]) -> str:
    abnormal = ", ".join(f"{number} `{what}`" for what, number in row["abnormal"].items()) or "nothing"
    mixed = f"; {row['other_answers']} mixed up" if row.get("other_answers") else ""
    return f"{abnormal} of {row['requests']}{mixed}"


if __name__ == "__main__":
    main()
