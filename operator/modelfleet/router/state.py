"""What the router knows: table, endpoints and key files come in, one fleet comes out.

Each input may change or vanish at any time.  A broken table changes nothing, a vanished control plane changes
nothing, a missing key turns off its tier alone.  The swap is one assignment: requests under way keep the fleet that
they began with.
"""

import asyncio
import logging
import random
import ssl
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from math import inf
from typing import Any

import orjson

from modelfleet import names
from modelfleet.api.route_table import (
    CascadeRoute,
    ExternalTarget,
    RouterRules,
    RouteTable,
    TierRoute,
)
from modelfleet.api.route_table_reader import read
from modelfleet.route import base_url, spent, waiting
from modelfleet.route.endpoints import Address, addresses, addresses_by_port
from modelfleet.route.law import Law
from modelfleet.route.outside import Outside, outside
from modelfleet.route.overflow import Share
from modelfleet.route.rate import Rate
from modelfleet.router import entries
from modelfleet.router.fleet import Fleet, Line, Step, fleet, line
from modelfleet.router.keys import KeyRing
from modelfleet.router.metrics import RouterMetrics, TierStats
from modelfleet.router.pool import Pool
from modelfleet.router.recorder import OFF, Recorder
from modelfleet.router.secrets import Secrets
from modelfleet.router.upstream import Replica
from modelfleet.router.wake import Waker

_log = logging.getLogger(__name__)

_NO_RULES = RouterRules()

# Of a tier: those of its own Service by that alone, others by the name of the port as well.
Endpoints = Mapping[tuple[str, str | None], tuple[Address, ...]]


@dataclass(frozen=True, slots=True)
class _Target:
    """An address and how to talk to it: what makes two replicas the same.

    Two tiers at one address are two, as the health and the places of one are not the other's.
    """

    model_tier: str
    host: str
    port: int
    tls: ssl.SSLContext | None
    outside: Outside | None = None  # where an external one may be: with other rules it is another


@dataclass(slots=True)
class _Draft:
    """What the next fleet is made of, while making it can still fail."""

    outside: Outside
    replicas: dict[_Target, Replica] = field(default_factory=dict)
    pools: dict[tuple[str, str], tuple[Pool, TierRoute, Sequence[Replica]]] = field(default_factory=dict)
    keys_missing: dict[tuple[str, str, str, str], bool] = field(default_factory=dict)
    shares: dict[str, Share] = field(default_factory=dict)
    laws: dict[str, Law] = field(default_factory=dict)
    unusable: dict[str, str] = field(default_factory=dict)  # external ModelTiers without a replica, and why


class State:
    """Turns what is observed into the fleet that requests read."""

    def __init__(
        self,
        *,
        metrics: RouterMetrics,
        secrets: Secrets,
        loop: asyncio.AbstractEventLoop,
        router: str,
        spin: Callable[[], float] = random.random,
        keys: KeyRing | None = None,
        recorder: Recorder = OFF,
        unix_s: Callable[[], float] = time.time,
    ) -> None:
        self.fleet: Fleet = fleet({})
        self.keys = keys  # None: whoever reaches the router may use it
        self.metrics = metrics
        self.recorder = recorder
        metrics.api_keys = keys.counts if keys is not None else None
        metrics.outages = self._outages
        self.listening = False
        self.draining = False
        self._secrets = secrets
        self._loop = loop
        self._config_map = names.route_table(router)
        self._table: RouteTable | None = None
        self._endpoints: Endpoints | None = None
        self.services: frozenset[str] = frozenset()  # that are not the operator's, and get requests
        self.services_changed = asyncio.Event()
        self._found: Endpoints | None = None  # the endpoints of those
        self._served = False
        self._spin = spin
        self._replicas: dict[_Target, Replica] = {}
        self.pools: dict[tuple[str, str], Pool] = {}  # by ModelTier, and the base URL of an external one
        self._shares: dict[str, Share] = {}  # by Cascade
        self._laws: dict[str, Law] = {}  # likewise
        self._spent_s = loop.time()
        self._unix_s = unix_s
        self._money_s = inf  # Unix time; when a Cascade whose budget is spent has its money again
        self._unusable: Mapping[str, str] = {}
        self._waker = Waker(loop=loop, namespace=metrics.namespace, calls=metrics.wake_calls)

    def unready_reason(self) -> str | None:
        """Why no requests should be sent here, for /readyz."""
        if self.draining:
            return "draining"
        if self._table is None:
            return "no route table yet"
        if self._endpoints is None:
            return "no endpoints listed yet"
        if self.services and self._found is None and not self._served:
            return "no endpoints of existing Services listed yet"
        # A Service that a later table adds takes no ready router away from the others.
        self._served = self._served or self.listening
        return None if self.listening else "not listening yet"

    @property
    def rules(self) -> RouterRules:
        """What holds for the whole router."""
        return self._table.rules if self._table is not None else _NO_RULES

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
            table, ignored = read(orjson.loads(config_map["data"][names.ROUTE_TABLE_KEY]))
            self._swap(table, self._endpoints, self._found)
        except (ValueError, KeyError, TypeError, AttributeError) as err:
            self.metrics.table_errors += 1
            _log.error(
                "route table is broken, keeping the last one", extra={"version": version, "error": str(err)}
            )
            return
        self.metrics.table_version = version
        self.metrics.table_loaded_at_s = now_s
        if ignored and ignored != self.metrics.table_ignored:
            _log.warning(
                "route table is newer than this router, which ignores parts", extra={"parts": ignored}
            )
        self.metrics.table_ignored = ignored
        _log.info("route table loaded", extra={"version": version, "cascades": len(table.cascades)})

    def endpoint_slices_changed(self, found: Mapping[str, Mapping[str, Any]]) -> None:
        """Take the addresses of all tiers whose pods are the operator's."""
        listed = addresses(found.values())
        endpoints: Endpoints = {(service, None): where for service, where in listed.items()}
        if endpoints == self._endpoints:
            return
        counts = {service: len(where) for service, where in sorted(listed.items())}
        _log.info("endpoints changed", extra={"replicas": counts})
        self._swap(self._table, endpoints, self._found)

    def existing_slices_changed(self, found: Mapping[str, Mapping[str, Any]]) -> None:
        """Take the addresses of `services`."""
        listed = addresses_by_port(found.values())
        endpoints: Endpoints = dict(listed.items())
        if endpoints == self._found:
            return
        counts = {f"{service}:{port}": len(where) for (service, port), where in sorted(listed.items())}
        _log.info("endpoints of existing Services changed", extra={"replicas": counts})
        self._swap(self._table, self._endpoints, endpoints)

    def secrets_changed(self) -> None:
        """Take new keys and authorities."""
        self._swap(self._table, self._endpoints, self._found)

    def sweep(self, now_s: float) -> None:
        """Give back connections that idle, let replicas that were out come back; `now_s` is the loop's time."""
        for replica in self._replicas.values():
            replica.sweep(now_s)
        for pool in self.pools.values():
            pool.knock(now_s)
            pool.sweep(now_s)
        if self._unix_s() >= self._money_s:
            self._swap(self._table, self._endpoints, self._found)
        since_s = now_s - self._spent_s
        if since_s >= entries.EVERY_S:
            self._spent_s = now_s
            entries.spend(self.fleet.lines.values(), routers=self.rules.routers, seconds=since_s)

    def _outages(self) -> Mapping[str, str]:
        """The external ModelTiers that get no request from here, and why, in one word."""
        found = {tier: pool.outage() for (tier, _), pool in self.pools.items() if pool.external}
        return {tier: why for tier, why in (found | dict(self._unusable)).items() if why}

    # The output.

    def _swap(
        self, table: RouteTable | None, endpoints: Endpoints | None, existing: Endpoints | None
    ) -> None:
        rules = table.rules if table is not None else _NO_RULES
        draft = _Draft(outside(rules.external_allow, rules.external_deny))
        routes = spent.obeyed(table.cascades if table is not None else (), self._unix_s())
        known: Endpoints = {**(endpoints or {}), **(existing or {})}
        lines = {route.model_name: self._line(route, known, draft) for route in routes}
        # Everything that can fail is done: from here on it is plain assignments.
        gone = [replica for target, replica in self._replicas.items() if target not in draft.replicas]
        left = [pool for key, pool in self.pools.items() if key not in draft.pools]
        self._table, self._endpoints, self._replicas = table, endpoints, draft.replicas
        self._money_s = spent.until_s(routes)
        self._found = existing
        self._follow(routes)
        self.pools = {key: pool for key, (pool, _, _) in draft.pools.items()}
        self._shares, self._laws, self._unusable = draft.shares, draft.laws, draft.unusable
        self.metrics.keep_only(
            (step.stats for one in lines.values() for step in one.steps),
            (pool.stats for pool in self.pools.values()),
        )
        self.metrics.keys_missing = draft.keys_missing
        for one in lines.values():
            for step in one.steps:
                step.stats.cost(step.route.price)
            entries.resume(one)
        self.fleet = fleet(lines)
        if table is not None:
            self.recorder.follow(table.rules)
        self._waker.operators = self.rules.wake
        now_s = self._loop.time()
        for pool, tier, found in draft.pools.values():
            pool.update(
                found,
                concurrency=tier.concurrency,
                per_replica=tier.waiting,
                prefix_characters=tier.prefix_characters,
                cold=tier.cold,
                held_max=waiting.part(tier.cold.held_max, self.rules.routers) if tier.cold else 0,
                now_s=now_s,
            )
            pool.limit(*self._rate(pool, tier.external, lines, now_s))
        for pool in left:
            pool.update((), concurrency=None, per_replica=0, now_s=now_s)
        for replica in gone:
            replica.close()

    def _follow(self, routes: Sequence[CascadeRoute]) -> None:
        """Say which Services have to be watched beside those of the operator."""
        services = frozenset(
            tier.service or "" for route in routes for tier in route.tiers if tier.service_port is not None
        )
        if not services:
            self._found = None  # Whoever names one again wants to know where it is then.
        if services != self.services:
            self.services = services
            self.services_changed.set()

    def _rate(
        self, pool: Pool, external: ExternalTarget | None, lines: Mapping[str, Line], now_s: float
    ) -> tuple[Rate | None, list[TierStats]]:
        """Our part of what an API may be asked, and where its tokens are counted."""
        if external is None or not (external.requests_per_minute or external.tokens_per_minute):
            return None, []
        rate = pool.rate or Rate()
        rate.limit(
            requests=external.requests_per_minute,
            tokens=external.tokens_per_minute,
            routers=self.rules.routers,
            now_s=now_s,
        )
        return rate, [step.stats for one in lines.values() for step in one.steps if step.pool is pool]

    def _line(self, route: CascadeRoute, endpoints: Endpoints, draft: _Draft) -> Line:
        steps = []
        for tier in route.tiers:
            stats = self.metrics.tier(route.cascade, tier.name, tier.model_tier)
            stats.judges = tier.accept is not None
            if tier.external is not None:
                steps.append(self._external(tier, tier.external, stats, draft))
                continue
            at = endpoints.get((tier.service or "", tier.service_port), ())
            pool = self._pool(
                tier, [_Target(tier.model_tier, each.host, each.port, None) for each in at], draft
            )
            head = _head(tier.service or "", None)
            steps.append(Step(route=tier, pool=pool, stats=stats, path_prefix=b"/v1", head=head))
        memory = entries.memory(route)
        law = entries.law_of(route, self._laws.get(memory))
        if law is not None:
            draft.laws[memory] = law
        return line(route, tuple(steps), self._share(route, draft), law)

    def _share(self, route: CascadeRoute, draft: _Draft) -> Share | None:
        """One account per Cascade, kept over swaps: a change of the table gives no new credit."""
        if route.overflow is None:
            return None
        share = self._shares.get(route.cascade) or Share(route.overflow.share_percent)
        share.percent = route.overflow.share_percent
        draft.shares[route.cascade] = share
        return share

    def _external(self, tier: TierRoute, external: ExternalTarget, stats: TierStats, draft: _Draft) -> Step:
        base = base_url.parts(external.base_url)
        if base is None:
            # One user's mistake must not stop the table of a whole namespace.
            _log.error("external address is none", extra={"tier": tier.model_tier})
            draft.unusable[tier.model_tier] = "BadURL"
            return Step(route=tier, pool=self._pool(tier, [], draft), stats=stats, path_prefix=b"", head=b"")
        key = self._secrets.key(external.api_key_file) if external.api_key_file else None
        tls = self._secrets.tls(external.ca_file) if base.secure else None
        if external.api_key_file is not None:
            draft.keys_missing[stats.labels] = key is None
        if external.api_key_file is not None and key is None:
            draft.unusable[tier.model_tier] = "KeyMissing"
        elif base.secure and tls is None:
            # Its own authority is not there (yet): nothing is ever sent unverified.
            draft.unusable[tier.model_tier] = "CAMissing"
        usable = tier.model_tier not in draft.unusable
        targets = [_Target(tier.model_tier, base.host, base.port, tls, draft.outside)] if usable else []
        return Step(
            route=tier,
            pool=self._pool(tier, targets, draft),
            stats=stats,
            path_prefix=base.path.encode(),
            head=_head(base.netloc, key),
        )

    def _pool(self, tier: TierRoute, targets: Sequence[_Target], draft: _Draft) -> Pool:
        """One object per ModelTier, shared by all Cascades and kept over swaps: requests wait in it.

        Another one where an external tier moves to another URL: requests under way carry the key of the first.
        """
        key = (tier.model_tier, tier.external.base_url if tier.external else "")
        pool = draft.pools[key][0] if key in draft.pools else self.pools.get(key)
        if pool is None:
            stats = self.metrics.pool(tier.model_tier)
            wake = partial(self._waker.call, tier.model_tier)
            pool = Pool(stats, external=tier.external is not None, spin=self._spin, wake=wake)
        draft.pools[key] = (pool, tier, [self._replica(target, draft) for target in targets])
        return pool

    def _replica(self, target: _Target, draft: _Draft) -> Replica:
        """One object per address of a tier, kept over swaps: it counts and holds connections."""
        found = draft.replicas.get(target) or self._replicas.get(target)
        if found is None:
            found = Replica(target.host, target.port, loop=self._loop, tls=target.tls, outside=target.outside)
        draft.replicas[target] = found
        return found


def _head(host: str, key: str | None) -> bytes:
    if not host.isascii() or not host.isprintable():
        raise ValueError(f"{host!r} is no host")
    lines = f"host: {host}\r\ncontent-type: application/json\r\naccept-encoding: identity\r\n"
    if key is not None:
        lines += f"authorization: Bearer {key}\r\n"
    return lines.encode("latin-1")
