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
        service = _service(piece)
        port = _port(piece)
        if service is not None and port is not None:
            _take(piece, port, ready.setdefault(service, set()), leaving.setdefault(service, set()))
    best = {service: found or leaving[service] for service, found in ready.items()}
    return {service: _sorted(found) for service, found in best.items() if found}


def addresses_by_port(slices: Iterable[Mapping[str, Any]]) -> dict[tuple[str, str], tuple[Address, ...]]:
    """The same of Services that are not the operator's, by Service and name of the port; a port may have no name.

    Of a Service with two address families one counts, IPv4: both lead to the same pods, which have their slots once.
    """
    pieces = [piece for piece in slices if _service(piece) is not None]
    with_v4 = {_service(piece) for piece in pieces if piece.get("addressType") == "IPv4"}
    ready: dict[tuple[str, str], set[Address]] = {}
    leaving: dict[tuple[str, str], set[Address]] = {}
    for piece in pieces:
        service = _service(piece) or ""
        if piece.get("addressType") == "IPv6" and service in with_v4:
            continue
        for port in piece.get("ports") or ():
            number: int | None = port.get("port")
            at = (service, port.get("name") or "")
            if number is not None:
                _take(piece, number, ready.setdefault(at, set()), leaving.setdefault(at, set()))
    best = {at: found or leaving[at] for at, found in ready.items()}
    return {at: _sorted(found) for at, found in best.items() if found}


def _service(piece: Mapping[str, Any]) -> str | None:
    """The Service of a slice whose addresses are addresses."""
    service: str | None = (piece["metadata"].get("labels") or {}).get(names.LABEL_SERVICE)
    return None if piece.get("addressType") == "FQDN" else service


def _take(piece: Mapping[str, Any], port: int, ready: set[Address], leaving: set[Address]) -> None:
    for endpoint in piece.get("endpoints") or ():
        address = Address(endpoint["addresses"][0], port)
        conditions = endpoint.get("conditions") or {}
        if conditions.get("ready") is not False:  # unset means ready
            ready.add(address)
        elif conditions.get("serving") and conditions.get("terminating"):
            leaving.add(address)


def _port(piece: Mapping[str, Any]) -> int | None:
    ports = piece.get("ports") or ()
    named = [port for port in ports if port.get("name") == names.PORT_HTTP]
    chosen = (named or list(ports) or [{}])[0]
    port: int | None = chosen.get("port")
    return port


def _sorted(found: set[Address]) -> tuple[Address, ...]:
    return tuple(sorted(found, key=lambda address: (address.host, address.port)))
