"""`ranker-features`: fill a feature store from Parquet, look into it, and look after it."""

from __future__ import annotations

import typer

from feature_store import commands

app = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode="markdown",
    pretty_exceptions_enable=False,  # a traceback with local values could show a password
    help="Features by entity id: write them from Parquet, look at them.",
)

app.command(name="materialize")(commands.import_command)
app.command(name="import", help="The same as `materialize`.")(commands.import_command)
app.command(name="export")(commands.export_command)
app.command(name="get")(commands.get)
app.command(name="put")(commands.put)
app.command(name="update")(commands.update)
app.command(name="delete")(commands.delete)
app.command(name="stats")(commands.stats)
app.command(name="verify")(commands.verify_command)
app.command(name="sweep")(commands.sweep)

if __name__ == "__main__":
    app()
