"""The command line: `modelfleet operator` is what the operator's image runs."""

import asyncio

import typer

from modelfleet import __version__
from modelfleet.cli import explain, key, serve, simulate
from modelfleet.settings import Settings

app = typer.Typer(
    help="Serve every request with the smallest model that clears the bar.", no_args_is_help=True
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


app.command()(simulate.simulate)
app.command()(explain.explain)
app.command()(explain.plan)


if __name__ == "__main__":
    app()
