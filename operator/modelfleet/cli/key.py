"""`modelfleet key`: makes an API key for clients, and the entry that lets it in."""

import hashlib
import json
import re
import secrets
from collections.abc import Sequence
from typing import Annotated, Any

import typer

from modelfleet.route import keys

PREFIX = "mf-"  # so that scanners of leaked secrets, and people, know one when they see it
_RANDOM_BYTES = 32
_NAME = re.compile(r"[A-Za-z0-9][-._A-Za-z0-9]{0,252}")


def key(
    name: Annotated[str, typer.Argument(help="Name of the entry: a team or an application.")],
    model: Annotated[list[str], typer.Option(help="A model that the key may use. Default: all.")] = [],  # noqa: B006 - typer copies it
    tier: Annotated[
        list[str],
        typer.Option(help="A tier that its requests may reach, as named in a Cascade. Default: all."),
    ] = [],  # noqa: B006 - typer copies it
    data_class: Annotated[str, typer.Option(help="Data class of everything that the key sends.")] = "",
    requests_per_minute: Annotated[
        int, typer.Option(min=0, help="Its rate, at all routers together. 0: no limit.")
    ] = 0,
) -> None:
    """Make an API key. It is shown once, on stderr; its entry is stdout, as a patch of the Secret.

    kubectl patch secret modelfleet-keys -n NAMESPACE --type merge -p "$(modelfleet key team-a --model chat)"
    """
    if not _NAME.fullmatch(name):
        raise typer.BadParameter(
            "letters, digits, - _ and . only, as in a key of a Secret", param_hint="NAME"
        )
    made = PREFIX + secrets.token_urlsafe(_RANDOM_BYTES)
    entry = entry_of(
        made, models=model, tiers=tier, data_class=data_class, requests_per_minute=requests_per_minute
    )
    try:
        keys.entry(name, entry.encode())  # what a router would say of it
    except ValueError as err:
        raise typer.BadParameter(f"the entry {err}") from err
    typer.echo(f"Key of {name}, shown this once: {made}", err=True)
    typer.echo("Its entry goes into the Secret of router.apiKeys, in each namespace with a router.", err=True)
    typer.echo(json.dumps({"stringData": {name: entry}}))


def entry_of(
    made: str, *, models: Sequence[str], tiers: Sequence[str], data_class: str, requests_per_minute: int
) -> str:
    """The entry of a key as JSON: its hash, and what it may do."""
    said: dict[str, Any] = {
        "models": list(models),
        "tiers": list(tiers),
        "dataClass": data_class,
        "requestsPerMinute": requests_per_minute,
    }
    kept = {field: value for field, value in said.items() if value}
    return json.dumps({"sha256": hashlib.sha256(made.encode()).hexdigest(), **kept})
