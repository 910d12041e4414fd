"""`ranker-train`: simulate, check, train, nightly, compare, diagnose, evaluate, publish."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any

import pyarrow as pa
import pyarrow.parquet as pq
import typer
from pydantic import ValidationError
from rich.console import Console

from ranker.errors import RankerError
from training.comparison.cli import compare
from training.diagnostics.cli import diagnose
from training.errors import CheckpointError, ConfigError, DivergenceError, Interrupted
from training.nightly.cli import nightly, rollback, runs_command

_TABLE_WIDTH = 160

app = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode="markdown",
    pretty_exceptions_enable=False,
    help="The offline side: from logged impressions to a published bundle. "
    "Exit codes: 0 done, 1 training failed or was stopped, 2 bad input; `nightly` has more.",
)

ConfigArgument = Annotated[Path, typer.Argument(metavar="CONFIG", help="One YAML is one experiment; see configs/.")]
DataOption = Annotated[str, typer.Option("--data", help="Impressions: a Parquet file, a folder of them, or a URL.")]
SetOption = Annotated[
    list[str] | None, typer.Option("--set", metavar="KEY=VALUE", help="Override a setting, e.g. training.epochs=3.")
]
RegistryOption = Annotated[
    Path, typer.Option("--registry", envvar="RANKER_REGISTRY", help="Folder of published bundles.")
]


@app.command()
def simulate(
    out: Annotated[Path, typer.Option("--out", help="Folder to write; must not exist or be empty.")],
    impressions: Annotated[int | None, typer.Option(help="Rows of the log.")] = None,
    users: Annotated[int | None, typer.Option(help="Number of users.")] = None,
    items: Annotated[int | None, typer.Option(help="Number of items on the first day.")] = None,
    days: Annotated[int | None, typer.Option(help="Days of the log; the last is for testing.")] = None,
    correlation: Annotated[float | None, typer.Option(help="Between click and conversion, -1 to 1.")] = None,
    selection_bias: Annotated[
        float | None, typer.Option(help="Of conversions seen only after a click, -1 to 1.")
    ] = None,
    drift: Annotated[float | None, typer.Option(help="Day-to-day change of tastes, 0 to 1.")] = None,
    seed: Annotated[int | None, typer.Option(help="The same seed gives the same log.")] = None,
    set_: Annotated[
        list[str] | None, typer.Option("--set", metavar="KEY=VALUE", help="Any other setting of the simulation.")
    ] = None,
) -> None:
    """Write a log whose true probabilities are known, with user and item features beside it.

    Example: `ranker-train simulate --out demo/log --impressions 100000 --seed 7`
    """
    from training.simulation import SimulationConfig, simulate as write_log

    named = {
        "num_impressions": impressions,
        "num_users": users,
        "num_items": items,
        "num_days": days,
        "task_correlation": correlation,
        "selection_bias": selection_bias,
        "drift": drift,
        "seed": seed,
    }
    settings: dict[str, Any] = {key: value for key, value in named.items() if value is not None}
    settings |= dict(_key_value(item) for item in set_ or ())
    console = Console(stderr=True)
    with _bad_input():
        from training.progress import Progress

        config = SimulationConfig.model_validate(settings)
        with Progress(console).bar("simulate", config.num_rows) as advance:
            summary = write_log(config, out, _moves(advance))
    typer.echo(
        f"{summary.num_rows:,} impressions of {summary.num_users:,} users on {summary.num_items:,} items in {out}"
    )
    judged = "test" if "test" in summary.splits else "all"
    best = {name: value for name, value in summary.splits[judged].best_auc.items() if value is not None}
    typer.echo(f"best AUC that any model can reach on {judged} days: {_figures(best)}")


@app.command()
def check(config: ConfigArgument, data: DataOption, set_: SetOption = None) -> None:
    """Check an experiment and its data without training.

    Example: `ranker-train check configs/demo.yaml --data demo/log/impressions`
    """
    with _bad_input():
        from training.config import load_config
        from training.data import Impressions
        from training.run import check_data

        experiment = load_config(config, tuple(set_ or ()))
        counts, _encoder = check_data(Impressions(data, experiment))
    for split, totals in counts.items():
        labelled = ", ".join(f"{name} {count:,}" for name, count in totals.items() if name != "rows")
        typer.echo(f"{split}: {totals['rows']:,} rows; labelled: {labelled}")
    typer.echo("config and data agree")


@app.command()
def train(
    config: ConfigArgument,
    data: DataOption,
    out: Annotated[Path, typer.Option("--out", help="Run folder to write: bundle, metrics, TensorBoard curves.")],
    registry: Annotated[
        Path | None, typer.Option("--registry", help="Also publish the bundle here and make it current.")
    ] = None,
    warm_start: Annotated[
        Path | None,
        typer.Option("--warm-start", help="Go on from this run folder, or this bundle's weights."),
    ] = None,
    set_: SetOption = None,
) -> None:
    """Train an experiment, evaluate it on the test rows, and write a verified bundle.

    A run that was killed goes on where it was when the same command is given again.

    Examples:

        ranker-train train configs/demo.yaml --data demo/log/impressions --out runs/first

        ranker-train train configs/demo.yaml --data demo/log/impressions --out runs/second --warm-start runs/first

    Under `torchrun --nproc-per-node N -m training.cli train ...` the tables are sharded over N processes.
    """
    with _bad_input():
        import os

        from training.config import load_config
        from training.nightly.signals import stop_on_signals
        from training.progress import Progress
        from training.run import train as run
        from training.warm_start import TrainedState

        experiment = load_config(config, tuple(set_ or ()))
        progress = Progress(quiet=os.environ.get("RANK", "0") != "0")
        earlier = None if warm_start is None else TrainedState.load(warm_start)
        with stop_on_signals(lambda: progress.say("asked to stop; stops at the next safe point")) as stop:
            result = run(experiment, data, out, progress, earlier=earlier, stop=stop)
        if result.bundle is None:
            return
        _reports().print(result.report.table("test"))
        typer.echo(f"bundle {result.bundle.manifest.version} in {result.bundle.path}")
        if registry is not None:
            _publish(result.bundle.path, registry)


@app.command()
def evaluate(
    bundle: Annotated[Path, typer.Argument(metavar="BUNDLE", help="Folder of a bundle, e.g. RUN/bundle.")],
    config: Annotated[Path, typer.Option("--config", help="The experiment: names splits, ids and labels.")],
    data: DataOption,
    split: Annotated[str, typer.Option("--split", help="train, valid or test.")] = "test",
    scores: Annotated[Path | None, typer.Option("--scores", help="Also write every row's outputs as Parquet.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON instead of a table.")] = False,
    set_: SetOption = None,
) -> None:
    """Judge a bundle, just as a server would load it, on one split.

    Example: `ranker-train evaluate runs/first/bundle --config configs/demo.yaml --data demo/log/impressions`
    """
    with _bad_input():
        from training.bundle_evaluation import evaluate_bundle
        from training.config import load_config
        from training.splits import SPLITS

        chosen = next((name for name in SPLITS if name == split), None)
        if chosen is None:
            raise ConfigError(f"--split must be one of {', '.join(SPLITS)}, got '{split}'")
        if scores is not None and not scores.parent.is_dir():
            raise ConfigError(f"--scores must lie in an existing folder, '{scores.parent}' is none; create it")
        result = evaluate_bundle(bundle, load_config(config, tuple(set_ or ())), data, chosen)
    if scores is not None:
        pq.write_table(pa.table(result.scores), scores)
    if as_json:
        typer.echo(json.dumps(result.report.to_dict(), indent=2))
    else:
        _reports().print(result.report.table(split))


@app.command()
def publish(
    bundle: Annotated[Path, typer.Argument(metavar="BUNDLE", help="Folder of a bundle, e.g. RUN/bundle.")],
    registry: RegistryOption,
) -> None:
    """Copy a bundle into a registry, verify it there, and make it current.

    Example: `ranker-train publish runs/first/bundle --registry demo/registry`
    """
    with _bad_input():
        _publish(bundle, registry)


def _publish(bundle: Path, registry: Path) -> None:
    from ranker.registry import Registry

    version = Registry(registry).publish(bundle)
    typer.echo(f"published {version} in {registry}; it is now current")


def _moves(advance: Callable[[int], None]) -> Callable[[int, int], None]:
    """From rows written so far, as the simulator tells them, to rows more, as a bar takes them."""
    written = 0

    def moved(rows: int, _total: int) -> None:
        nonlocal written
        advance(rows - written)
        written = rows

    return moved


def _reports() -> Console:
    """Where tables go: as wide as the terminal, or wide enough for every column in a file or a pipe."""
    return Console(width=None if sys.stdout.isatty() else _TABLE_WIDTH)


def _figures(values: dict[str, float]) -> str:
    return ", ".join(f"{name} {value:.4f}" for name, value in values.items())


def _key_value(item: str) -> tuple[str, str]:
    key, separator, value = item.partition("=")
    if not separator:
        raise typer.BadParameter(f"--set must look like key=value, got '{item}'")
    return key, value


@contextmanager
def _bad_input() -> Iterator[None]:
    """Turn what a user can mend into one message and exit code 2, and a diverged training into exit code 1."""
    try:
        yield
    except ValidationError as exc:
        lines = [f"{'.'.join(map(str, e['loc'])) or 'settings'}: {e['msg']} (got {e['input']!r})" for e in exc.errors()]
        typer.echo("error: " + "\n".join(lines), err=True)
        raise typer.Exit(2) from exc
    except (DivergenceError, CheckpointError, Interrupted) as exc:
        typer.echo(f"error: {exc}", err=True)
        raise typer.Exit(1) from exc
    except (RankerError, ConfigError) as exc:
        typer.echo(f"error: {exc}", err=True)
        raise typer.Exit(2) from exc


app.command()(_bad_input()(compare))

app.command()(_bad_input()(diagnose))

app.command()(_bad_input()(nightly))

app.command(name="runs")(_bad_input()(runs_command))

app.command()(_bad_input()(rollback))


if __name__ == "__main__":
    app()
