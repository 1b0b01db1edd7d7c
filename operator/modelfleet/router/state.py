"""What the router knows: table, endpoints and key files come in, one fleet comes out.

Each input may change or vanish at any time.  A broken table changes nothing, a vanished control plane changes
nothing, a missing key turns off its tier alone.  The swap is one assignment: requests under way keep the fleet that
they began with.
"""

import asyncio
import logging
import ssl
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

import orjson

from modelfleet import names
from modelfleet.api.route_table import CascadeRoute, ExternalTarget, RouteTable, TierRoute, decode
from modelfleet.route.endpoints import Address, addresses
from modelfleet.router.fleet import Fleet, Line, Step, fleet, line
from modelfleet.router.metrics import RouterMetrics, TierStats
from modelfleet.router.secrets import Secrets
from modelfleet.router.upstream import Replica

_log = logging.getLogger(__name__)

_HTTPS_PORT = 443
_HTTP_PORT = 80


@dataclass(frozen=True, slots=True)
class _Target:
    """An address and how to talk to it: what makes two replicas the same."""

    host: str
    port: int
    tls: ssl.SSLContext | None


class State:
    """Turns what is observed into the fleet that requests read."""

    def __init__(
        self, *, metrics: RouterMetrics, secrets: Secrets, loop: asyncio.AbstractEventLoop, router: str
    ) -> None:
        self.fleet: Fleet = fleet({})
        self.metrics = metrics
        self.listening = False
        self.draining = False
        self._secrets = secrets
        self._loop = loop
        self._config_map = names.route_table(router)
        self._table: RouteTable | None = None
        self._endpoints: Mapping[str, tuple[Address, ...]] | None = None
        self._replicas: dict[_Target, Replica] = {}

    def unready_reason(self) -> str | None:
        """Why no requests should be sent here, for /readyz."""
        if self.draining:
            return "draining"
        if self._table is None:
            return "no route table yet"
        if self._endpoints is None:
            return "no endpoints listed yet"
        return None if self.listening else "not listening yet"

    # Inputs.

    def config_maps_changed(self, found: Mapping[str, Mapping[str, Any]], *, now_s: float) -> None:
        """Take the table from its ConfigMap; a missing or broken one leaves the last good one.  `now_s`: Unix time."""
        config_map = found.get(self._config_map)
        if config_map is None:
            if self._table is not None:
                _log.warning(
                    "route table is gone, keeping the last one", extra={"config_map": self._config_map}
                )
            return
        version = str(config_map["metadata"].get("resourceVersion", ""))
        if version == self.metrics.table_version:
            return
        try:
            table = decode(orjson.loads(config_map["data"][names.ROUTE_TABLE_KEY]))
            self._swap(table, self._endpoints)
        except (ValueError, KeyError, TypeError, AttributeError) as err:
            self.metrics.table_errors += 1
            _log.error(
                "route table is broken, keeping the last one", extra={"version": version, "error": str(err)}
            )
            return
        self.metrics.table_version = version
        self.metrics.table_loaded_at_s = now_s
        _log.info("route table loaded", extra={"version": version, "cascades": len(table.cascades)})

    def endpoint_slices_changed(self, found: Mapping[str, Mapping[str, Any]]) -> None:
        """Take the addresses of all tiers."""
        endpoints = addresses(found.values())
        if endpoints == self._endpoints:
            return
        counts = {service: len(where) for service, where in sorted(endpoints.items())}
        _log.info("endpoints changed", extra={"replicas": counts})
        self._swap(self._table, endpoints)

    def secrets_changed(self) -> None:
        """Take new keys and authorities."""
        self._swap(self._table, self._endpoints)

    def sweep(self, now_s: float) -> None:
        """Give back connections that idle; `now_s` is the loop's time."""
        for replica in self._replicas.values():
            replica.sweep(now_s)

    # The output.

    def _swap(self, table: RouteTable | None, endpoints: Mapping[str, tuple[Address, ...]] | None) -> None:
        replicas: dict[_Target, Replica] = {}
        missing: dict[tuple[str, str, str, str], bool] = {}
        routes = table.cascades if table is not None else ()
        lines = {route.model_name: self._line(route, endpoints or {}, replicas, missing) for route in routes}
        # Everything that can fail is done: from here on it is plain assignments.
        gone = [replica for target, replica in self._replicas.items() if target not in replicas]
        self._table, self._endpoints, self._replicas = table, endpoints, replicas
        self.metrics.keep_only(step.stats for one in lines.values() for step in one.steps)
        self.metrics.keys_missing = missing
        self.fleet = fleet(lines)
        for replica in gone:
            replica.close()

    def _line(
        self,
        route: CascadeRoute,
        endpoints: Mapping[str, tuple[Address, ...]],
        replicas: dict[_Target, Replica],
        missing: dict[tuple[str, str, str, str], bool],
    ) -> Line:
        steps = []
        for tier in route.tiers:
            stats = self.metrics.tier(route.cascade, tier.name, tier.model_tier)
            if tier.external is not None:
                steps.append(self._external(tier, tier.external, stats, replicas, missing))
                continue
            targets = [_Target(at.host, at.port, None) for at in endpoints.get(tier.service or "", ())]
            found = tuple(self._replica(target, replicas) for target in targets)
            head = _head(tier.service or "", None)
            steps.append(Step(route=tier, replicas=found, stats=stats, path_prefix=b"/v1", head=head))
        return line(route, tuple(steps))

    def _external(
        self,
        tier: TierRoute,
        external: ExternalTarget,
        stats: TierStats,
        replicas: dict[_Target, Replica],
        missing: dict[tuple[str, str, str, str], bool],
    ) -> Step:
        base = _base(external.base_url)
        if base is None:
            # One user's mistake must not stop the table of a whole namespace.
            _log.error("external address is none", extra={"tier": tier.model_tier})
            return Step(route=tier, replicas=(), stats=stats, path_prefix=b"", head=b"")
        key = self._secrets.key(external.api_key_file) if external.api_key_file else None
        usable = True
        if external.api_key_file is not None:
            missing[stats.labels] = key is None
            usable = key is not None
        tls = self._secrets.tls(external.ca_file) if base.secure else None
        if base.secure and tls is None:
            usable = False  # its own authority is not there (yet): nothing is ever sent unverified
        target = _Target(base.host, base.port, tls)
        found = (self._replica(target, replicas),) if usable else ()
        return Step(
            route=tier,
            replicas=found,
            stats=stats,
            path_prefix=base.path.encode(),
            head=_head(base.netloc, key),
        )

    def _replica(self, target: _Target, replicas: dict[_Target, Replica]) -> Replica:
        """One object per address, shared by all cascades and kept over swaps: it counts and holds connections."""
        found = replicas.get(target) or self._replicas.get(target)
        if found is None:
            found = Replica(target.host, target.port, loop=self._loop, tls=target.tls)
        replicas[target] = found
        return found


@dataclass(frozen=True, slots=True)
class _Base:
    """A base URL in its parts."""

    secure: bool
    netloc: str  # host and port as written, without a user
    host: str
    port: int
    path: str  # without a / at its end


def _base(url: str) -> _Base | None:
    """The parts of an http(s) URL; None for anything else."""
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError:
        return None
    if parts.scheme not in {"http", "https"} or not parts.hostname or port == 0:
        return None
    secure = parts.scheme == "https"
    return _Base(
        secure=secure,
        netloc=parts.netloc.rpartition("@")[2],
        host=parts.hostname,
        port=port or (_HTTPS_PORT if secure else _HTTP_PORT),
        path=parts.path.rstrip("/"),
    )


def _head(host: str, key: str | None) -> bytes:
    if not host.isascii() or not host.isprintable():
        raise ValueError(f"{host!r} is no host")
    lines = f"host: {host}\r\ncontent-type: application/json\r\naccept-encoding: identity\r\n"
    if key is not None:
        lines += f"authorization: Bearer {key}\r\n"
    return lines.encode("latin-1")
