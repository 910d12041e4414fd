"""`ranker-train diagnose`."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Annotated, Any, cast

import typer

from training.errors import ConfigError


def diagnose(
    config: Annotated[Path, typer.Argument(metavar="CONFIG", help="A multi-task experiment.")],
    data: Annotated[str, typer.Option("--data", help="Impressions: a Parquet file, a folder of them, or a URL.")],
    out: Annotated[Path, typer.Option("--out", help="Folder for diagnosis.html and diagnosis.json.")],
    seeds: Annotated[int, typer.Option("--seeds", help="Repeats of the verdict; 5 or more for small differences.")] = 3,
    primary: Annotated[
        list[str] | None, typer.Option("--primary", metavar="TASK", help="A task that must gain; may be repeated.")
    ] = None,
    sections: Annotated[
        str,
        typer.Option(
            "--sections",
            help="By commas: verdict, affinity, gradients, losses, covariance, capacity, gates; or all.",
        ),
    ] = "all",
    split: Annotated[str, typer.Option("--split", help="Rows to judge by: train, valid or test.")] = "valid",
    widths: Annotated[
        str, typer.Option("--widths", help="Widths of the capacity sweep, by commas; none: four, a factor 4 apart.")
    ] = "",
    sweep_seeds: Annotated[int, typer.Option("--sweep-seeds", help="Seeds of each point of the capacity sweep.")] = 1,
    set_: Annotated[
        list[str] | None, typer.Option("--set", metavar="KEY=VALUE", help="Override a setting, e.g. training.epochs=3.")
    ] = None,
) -> None:
    """Does multi-task learning pay off here? Compare with single tasks, and look for the reasons.

    Trains the experiment and every task alone on several seeds, watches gradients, affinities, losses and gates on the
    way, sweeps the width of a shared layer, and writes a report that opens without a network.

    Example: `ranker-train diagnose configs/census_full40.yaml --data census.parquet --out runs/diagnosis --seeds 5`
    """
    from ranker.atomic import replace_file
    from training.config import load_config
    from training.diagnostics.diagnosis import SECTIONS
    from training.diagnostics.options import Options
    from training.diagnostics.report import render
    from training.diagnostics.study import diagnose as find_out
    from training.progress import Progress

    options = Options(
        sections=SECTIONS if sections == "all" else cast(Any, _listed(sections)),
        num_seeds=seeds,
        primaries=tuple(primary or ()),
        split=cast(Any, split),
        widths=tuple(_width(text) for text in _listed(widths)),
        num_sweep_seeds=sweep_seeds,
    )
    _refuse_unwritable(out)
    found = find_out(load_config(config, tuple(set_ or ())), data, options, Progress())
    content = json.dumps(found.to_dict(), indent=2, allow_nan=False) + "\n"
    out.mkdir(parents=True, exist_ok=True)
    replace_file(out / "diagnosis.json", content.encode())
    replace_file(out / "diagnosis.html", render(found, config.stem).encode())
    if found.headline is not None:
        typer.echo(f"{found.headline.title}. {found.headline.figures}")
    typer.echo(f"diagnosis.html and diagnosis.json in {out}")


def _refuse_unwritable(out: Path) -> None:
    """Find out before hours of training, not after."""
    existing = next(folder for folder in (out.absolute(), *out.absolute().parents) if folder.exists())
    if not existing.is_dir() or not os.access(existing, os.W_OK):
        raise ConfigError(f"--out must be a folder that can be written, got '{out}'; choose another --out")


def _listed(text: str) -> tuple[str, ...]:
    return tuple(part.strip() for part in text.split(",") if part.strip())


def _width(text: str) -> int:
    if not text.isdigit():
        raise ConfigError(f"--widths must be whole numbers separated by commas, got '{text}'")
    return int(text)
