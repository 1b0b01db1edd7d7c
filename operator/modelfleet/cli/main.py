"""The command line: `modelfleet operator` is what the operator's image runs."""

import asyncio
from typing import Any

import typer
from typer.core import TyperGroup

from modelfleet import __version__
from modelfleet.cli import explain, key, serve
from modelfleet.settings import Settings


class Commands(TyperGroup):
    """All commands; `simulate` is imported when it is asked for: the operator carries no simulator."""

    def list_commands(self, ctx: Any) -> list[str]:
        return [*super().list_commands(ctx), "simulate"]

    def get_command(self, ctx: Any, cmd_name: str) -> Any:
        if cmd_name != "simulate":
            return super().get_command(ctx, cmd_name)
        from modelfleet.cli.simulate import simulate  # noqa: PLC0415

        alone = typer.Typer(add_completion=False)
        alone.command()(simulate)
        return typer.main.get_command(alone)


app = typer.Typer(
    cls=Commands,
    help="Serve every request with the smallest model that clears the bar.",
    no_args_is_help=True,
)


@app.command()
def operator() -> None:
    """Run the operator.  Its settings are environment variables MODELFLEET_*."""
    settings = Settings()
    serve.configure_logging(settings)
    raise typer.Exit(asyncio.run(serve.serve(settings)))


app.command("key")(key.key)


@app.command()
def version() -> None:
    """Print the version."""
    typer.echo(__version__)


app.command()(explain.explain)
app.command()(explain.plan)


if __name__ == "__main__":
    app()
