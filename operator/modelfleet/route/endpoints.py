"""EndpointSlices -> the addresses of each Service that may take requests."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from modelfleet import names


@dataclass(frozen=True, slots=True)
class Address:
    """Where one replica listens."""

    host: str
    port: int


def addresses(slices: Iterable[Mapping[str, Any]]) -> dict[str, tuple[Address, ...]]:
    """Usable addresses by Service name, sorted.

    Ready ones; where a Service has none, those that are terminating but still serving: they finish their drain in
    their preStop hook and are better than no answer.
    """
    ready: dict[str, set[Address]] = {}
    leaving: dict[str, set[Address]] = {}
    for piece in slices:
        service = (piece["metadata"].get("labels") or {}).get(names.LABEL_SERVICE)
        port = _port(piece)
        if service is None or port is None or piece.get("addressType") == "FQDN":
            continue
        for endpoint in piece.get("endpoints") or ():
            address = Address(endpoint["addresses"][0], port)
            conditions = endpoint.get("conditions") or {}
            if conditions.get("ready") is not False:  # unset means ready
                ready.setdefault(service, set()).add(address)
            elif conditions.get("serving") and conditions.get("terminating"):
                leaving.setdefault(service, set()).add(address)
    return {service: _sorted(found) for service, found in {**leaving, **ready}.items()}


def _port(piece: Mapping[str, Any]) -> int | None:
    ports = piece.get("ports") or ()
    named = [port for port in ports if port.get("name") == names.PORT_HTTP]
    chosen = (named or list(ports) or [{}])[0]
    port: int | None = chosen.get("port")
    return port


def _sorted(found: set[Address]) -> tuple[Address, ...]:
    return tuple(sorted(found, key=lambda address: (address.host, address.port)))
