"""Reads a route table, strictly: broken in any way it raises ValueError, and the router keeps its last good one.

Tables are written by an operator that may be older or newer than the router, and in tests and trials by hand.  What
is missing has its default, which never changes.  What a router does not know it refuses, as a rule that it would
ignore might be a data policy; only what the table itself lists as `optional` it passes over.
"""

from collections.abc import Iterator, Mapping
from dataclasses import MISSING, dataclass, fields, is_dataclass
from functools import cache
from ipaddress import ip_network
from math import isfinite
from types import NoneType
from typing import Any, NamedTuple, get_args, get_origin

from modelfleet.api.route_table import (
    ENGINES,
    FORMAT_VERSION,
    OVERFLOWS,
    PERMILLE,
    SIGNALS,
    SPENT,
    UNKNOWN_DATA,
    AcceptRule,
    BudgetSpent,
    CascadeRoute,
    ColdRule,
    DataRule,
    ExternalTarget,
    LastHour,
    OverflowRule,
    RouterRules,
    RouteTable,
    TierRoute,
)

NUMBER_MAX = 2**53  # whole numbers beyond it do not survive JSON everywhere
SECONDS_MAX = 7 * 86_400.0  # seven times what a Cascade may ask for; a timer does not take every number
UNIX_S_MAX = 253_402_300_799.0  # the end of year 9999: no date is later
_HEAD = frozenset({"formatVersion", "optional"})


@dataclass(frozen=True, slots=True)
class _Range:
    least: float = 0.0
    most: float = NUMBER_MAX
    above: bool = False  # more than `least`, not just as much

    def holds(self, number: float) -> bool:
        # A number that is none fails every comparison.
        return self.least <= number <= self.most and not (self.above and number == self.least)

    def __str__(self) -> str:
        low = f"more than {self.least:g}" if self.above else f"{self.least:g} or more"
        return low if self.most == NUMBER_MAX else f"{low} and {self.most:g} or less"


_ANY = _Range()
_COUNT = _Range(1)
_TIME = _Range(0, SECONDS_MAX, above=True)
_SHARE = _Range(0, PERMILLE)
_PERCENT = _Range(0, 100)
# All other numbers are 0 or more.
_RANGES: Mapping[tuple[type, str], _Range] = {
    (ExternalTarget, "requests_per_minute"): _COUNT,
    (ExternalTarget, "tokens_per_minute"): _COUNT,
    (AcceptRule, "threshold"): _Range(-NUMBER_MAX, 0),
    (ColdRule, "hold_s"): _TIME,
    (BudgetSpent, "until_s"): _Range(0, UNIX_S_MAX),
    (TierRoute, "weight_permille"): _SHARE,
    (TierRoute, "timeout_s"): _TIME,
    (TierRoute, "concurrency"): _COUNT,
    (TierRoute, "context_tokens"): _COUNT,
    (TierRoute, "least_permille"): _SHARE,
    (TierRoute, "most_permille"): _SHARE,
    (OverflowRule, "share_percent"): _Range(1, 100),
    (CascadeRoute, "deadline_s"): _TIME,
    (CascadeRoute, "max_body_bytes"): _COUNT,
    (CascadeRoute, "hold_tokens"): _COUNT,
    (CascadeRoute, "hold_s"): _Range(0, SECONDS_MAX),
    (CascadeRoute, "max_cost_microdollars"): _Range(above=True),
    (CascadeRoute, "owed_permille"): _SHARE,
    (LastHour, "ahead_permille"): _Range(-PERMILLE, PERMILLE),
    (RouterRules, "routers"): _COUNT,
    (RouterRules, "access_log_percent"): _PERCENT,
    (RouterRules, "tracing_percent"): _PERCENT,
}


class Read(NamedTuple):
    """A table, and what of it this reader passed over: paths of optional parts that it does not know."""

    table: RouteTable
    ignored: tuple[str, ...] = ()


def decode(raw: Any) -> RouteTable:
    """The table in `raw`.  Raises ValueError, which names the field, when anything in it cannot be used."""
    return read(raw).table


def read(raw: Any) -> Read:
    """The same, with what was passed over."""
    if not isinstance(raw, Mapping):
        raise ValueError(f"route table is no object: {raw!r:.40}")  # noqa: TRY004 - one error for a broken table
    version = raw.get("formatVersion")
    if version != FORMAT_VERSION:
        raise ValueError(f"route table has formatVersion {version!r}, this router reads {FORMAT_VERSION}")
    optional = raw.get("optional", [])
    if not isinstance(optional, list) or not all(isinstance(path, str) for path in optional):
        raise ValueError(f"route table has {optional!r:.40} as optional, not a list of paths")
    body = {name: value for name, value in raw.items() if name not in _HEAD}
    reader = _Reader(frozenset(optional))
    table: RouteTable = reader.made(RouteTable, body, "")
    for at, cascade in enumerate(table.cascades):
        for problem in _problems(cascade):
            raise ValueError(f"route table: cascades[{at}], {cascade.cascade!r}, {problem}")
    _check_rules(table.rules)
    if len({cascade.model_name for cascade in table.cascades}) < len(table.cascades):
        raise ValueError("route table names a model twice")
    return Read(table, tuple(sorted(reader.ignored)))


class _Reader:
    """Makes values of declared types of JSON.  Paths are as in `cascades[0].tiers[1].timeout_s`."""

    def __init__(self, optional: frozenset[str]) -> None:
        self.optional = optional
        self.ignored: set[str] = set()

    def made(self, kind: Any, raw: Any, path: str, general: str = "") -> Any:
        """An object of a dataclass.  `general`: the path without places in lists, as optional parts have it."""
        if not isinstance(raw, Mapping):
            raise _not(raw, path, "an object")
        known = _fields(kind)
        for name in raw.keys() - known.keys():
            if (part := _joined(general, str(name))) not in self.optional:
                where = _joined(path, str(name))
                raise ValueError(f"route table has {where}, which this router does not know")
            self.ignored.add(part)
        found = {}
        for name, (declared, required) in known.items():
            where = _joined(path, name)
            if name in raw:
                found[name] = self._value(declared, raw[name], where, _joined(general, name))
                _check_range(kind, name, found[name], where)
            elif required:
                raise ValueError(f"route table has no {where}")
        return kind(**found)

    def _value(self, kind: Any, raw: Any, path: str, general: str) -> Any:
        inner = get_args(kind)
        if NoneType in inner:
            return None if raw is None else self._value(inner[0], raw, path, general)
        if get_origin(kind) is tuple:
            if not isinstance(raw, list):
                raise _not(raw, path, "a list")
            return tuple(self._value(inner[0], one, f"{path}[{at}]", general) for at, one in enumerate(raw))
        if is_dataclass(kind):
            return self.made(kind, raw, path, general)
        # True is an int, to Python.
        if isinstance(raw, bool) is not (kind is bool) or not isinstance(
            raw, int | float if kind is float else kind
        ):
            raise _not(raw, path, _CALLED[kind])
        return raw


_CALLED = {str: "a text", int: "a whole number", float: "a number", bool: "true or false"}


def _not(raw: Any, path: str, wanted: str) -> ValueError:
    return ValueError(f"route table has {raw!r:.40} as {path or 'a whole'}, not {wanted}")


def _joined(path: str, name: str) -> str:
    return f"{path}.{name}" if path else name


@cache
def _fields(kind: Any) -> Mapping[str, tuple[Any, bool]]:
    """Declared type of each field, and whether it must be there."""
    return {field.name: (field.type, field.default is MISSING) for field in fields(kind)}


def _check_range(kind: type, name: str, value: Any, path: str) -> None:
    if isinstance(value, bool) or not isinstance(value, int | float):
        return
    allowed = _RANGES.get((kind, name), _ANY)
    # The comparison comes first: a whole number of a thousand digits is no float.
    if not allowed.holds(value) or not isfinite(value):
        raise ValueError(f"route table has {value!r:.40} as {path}, not {allowed}")


def _problems(cascade: CascadeRoute) -> Iterator[str]:
    """What no field alone is guilty of."""
    if not cascade.tiers or sum(tier.weight_permille for tier in cascade.tiers) not in (0, PERMILLE):
        yield "has no tiers, or weights that do not sum to 1000"
        return
    for at, tier in enumerate(cascade.tiers):
        yield from (f"tiers[{at}], {tier.name!r}, {problem}" for problem in _tier_problems(tier))
    if cascade.owed_permille is not None and not all(_lawful(tier) for tier in cascade.tiers):
        yield "moves its entries by numbers that are none"
    if cascade.tiers[-1].accept is not None:
        yield "escalates to nowhere"
    if cascade.overflow is not None and (
        not cascade.overflow.when or set(cascade.overflow.when) - set(OVERFLOWS)
    ):
        yield f"has an overflow of {cascade.overflow.share_percent} percent when {cascade.overflow.when}"
    if cascade.spent is not None and cascade.spent.action not in SPENT:
        yield f"does {cascade.spent.action!r:.40} when its budget is spent"
    if cascade.data is not None and not _understood(cascade.data):
        yield "has a data policy that this router does not understand"


def _tier_problems(tier: TierRoute) -> Iterator[str]:
    if (tier.service is None) == (tier.external is None):
        yield "needs exactly one of service and external"
    if tier.service_port is not None and tier.service is None:
        yield "has a port of no Service"
    if tier.engine not in ENGINES or (tier.accept is not None and tier.accept.signal not in SIGNALS):
        yield "has an engine or a signal that this router does not know"


def _lawful(tier: TierRoute) -> bool:
    return tier.carries_per_hour > 0 and tier.under_way > 0 and tier.least_permille <= tier.most_permille


def _understood(rule: DataRule) -> bool:
    words = (rule.header, *rule.local_only, *rule.allowed)
    return rule.unknown in UNKNOWN_DATA and all(word and word == word.lower() for word in words)


def _check_rules(rules: RouterRules) -> None:
    for network in (*rules.external_allow, *rules.external_deny):
        ip_network(network)
    if not all(rules.wake):
        raise ValueError(f"route table has operators that are no addresses: {rules.wake}")
