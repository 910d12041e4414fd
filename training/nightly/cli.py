"""`ranker-train nightly`, `runs` and `rollback`."""

from __future__ import annotations

import os
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table

from training.errors import AlreadyRunning, ConfigError, NightlyError

RegistryOption = Annotated[
    Path, typer.Option("--registry", envvar="RANKER_REGISTRY", help="Folder of published bundles.")
]
RunsOption = Annotated[
    Path, typer.Option("--runs", envvar="RANKER_RUNS", help="Folder that holds one folder per night.")
]
_WIDTH = 160


def nightly(
    config: Annotated[Path, typer.Option("--config", metavar="CONFIG", help="The experiment's YAML; see configs/.")],
    data: Annotated[
        str, typer.Option("--data", help="Impressions: a Parquet file, a folder or a URL; {date} stands for the date.")
    ],
    registry: RegistryOption,
    runs: RunsOption = Path("runs"),
    day: Annotated[
        str | None, typer.Option("--date", metavar="YYYY-MM-DD", help="Last day of the data. Default: yesterday, UTC.")
    ] = None,
    store: Annotated[
        str | None,
        typer.Option(
            "--store",
            envvar="RANKER_FEATURES_STORE",
            help="Store for `nightly.features`: lmdb:PATH, redis://HOST:PORT/DB.",
        ),
    ] = None,
    metrics: Annotated[
        Path | None,
        typer.Option("--metrics", help="Prometheus textfile to write, e.g. /var/lib/node_exporter/ranker.prom."),
    ] = None,
    force: Annotated[bool, typer.Option("--force", help="Begin anew even if that night is done.")] = False,
    json_logs: Annotated[bool, typer.Option("--json-logs", help="One JSON object a line in place of text.")] = False,
    set_: Annotated[
        list[str] | None, typer.Option("--set", metavar="KEY=VALUE", help="Override a setting, e.g. training.epochs=3.")
    ] = None,
) -> None:
    """Check the data, train, judge against the live model, publish if it is no worse, report.

    Safe to run again at any time: a night that was killed goes on, one that is done stays done.

    Exit codes: 0 published, 3 the live model was kept, 2 bad data or config, 1 failed, 4 already running,
    5 stopped by a signal (run again, it goes on).

    Examples:

        ranker-train nightly --config shop.yaml --data shop/impressions --registry registry --date 2026-11-25

        ranker-train nightly --config shop.yaml --data 's3://logs/impressions' --registry /srv/registry \\
            --runs /srv/runs --store redis://cache:6379/0 --metrics /var/lib/node_exporter/ranker.prom
    """
    from training.config import load_config
    from training.nightly.job import nightly as run
    from training.nightly.log import NightLog
    from training.nightly.outcome import Outcome
    from training.nightly.paths import Paths
    from training.nightly.signals import stop_on_signals

    log = NightLog(as_json=json_logs, quiet=os.environ.get("RANK", "0") != "0")
    paths = Paths(data, runs, registry, store, metrics)
    try:
        with stop_on_signals(lambda: log.warn("stopping", "asked to stop; stops at the next safe point")) as stop:
            record = run(load_config(config, tuple(set_ or ())), _day(day), paths, log, stop=stop, force=force)
    except AlreadyRunning as error:
        log.error("already_running", str(error), exit_code=Outcome.ALREADY_RUNNING.exit_code)
        raise typer.Exit(Outcome.ALREADY_RUNNING.exit_code) from error
    except NightlyError as error:
        log.error("failed", str(error), exit_code=Outcome.FAILED.exit_code)
        raise typer.Exit(Outcome.FAILED.exit_code) from error
    assert record.outcome is not None  # a night that returns has ended
    raise typer.Exit(record.outcome.exit_code)


def runs_command(
    runs: RunsOption = Path("runs"),
    last: Annotated[int, typer.Option("--last", min=1, help="How many to list.")] = 20,
) -> None:
    """List past nights: how each ended, how long it took, what it reached.

    Example: `ranker-train runs --runs /srv/runs --last 7`
    """
    from training.nightly.record import past_runs

    if not runs.is_dir():
        raise ConfigError(f"--runs: folder '{runs}' does not exist; give the one that `ranker-train nightly` writes")
    table = Table(title=f"Nights in {runs}")
    for column in ("date", "version", "outcome", "minutes", "attempts", "test AUC", "message"):
        table.add_column(column, justify="right" if column in ("minutes", "attempts") else "left")
    for _, record in past_runs(runs)[-last:]:
        evaluated = record.done("evaluate")
        aucs = evaluated.summary if evaluated is not None else {}
        minutes = sum(stage.seconds for stage in record.stages) / 60
        table.add_row(
            record.date.isoformat(),
            record.version,
            record.outcome or "unfinished",
            f"{minutes:.1f}",
            str(record.attempts),
            ", ".join(f"{name.removesuffix('/auc')} {value:.4f}" for name, value in aucs.items()),
            record.message,
        )
    console = Console()
    (console if console.is_terminal else Console(width=_WIDTH)).print(table)


def rollback(
    registry: RegistryOption,
    to: Annotated[
        str | None, typer.Option("--to", metavar="VERSION", help="Which; default: the one live before.")
    ] = None,
) -> None:
    """Make the version live that was live before; servers pick it up without a restart.

    Examples:

        ranker-train rollback --registry registry

        ranker-train rollback --registry registry --to 20261124-1-3fa9c1
    """
    from ranker.registry import Registry

    found = Registry(registry)
    before = found.current()
    if to is None:
        to = found.rollback()
    else:
        found.activate(to)
    typer.echo(f"{to} is live in {registry}; before it was {before}")


def _day(text: str | None) -> date:
    if text is None:
        return datetime.now(UTC).date() - timedelta(days=1)
    try:
        return date.fromisoformat(text)
    except ValueError as error:
        raise ConfigError(f"--date must be a date like 2026-11-25, got '{text}'") from error
