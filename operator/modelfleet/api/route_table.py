"""What the operator writes into a router's ConfigMap and the router reads: plain dataclasses, no pydantic.

The router's process carries no model library, so the table decodes itself, strictly: a table that is broken in any
way raises ValueError and the router keeps its last good one.
"""

from collections.abc import Mapping
from dataclasses import MISSING, dataclass, fields, is_dataclass
from ipaddress import ip_network
from math import inf
from typing import Any, TypeVar, get_origin

FORMAT_VERSION = 1
ENGINES = ("vllm", "llamaCpp", "external")
OVERFLOWS = ("Cold", "Saturated", "Error")
PERCENT_MAX = 100
PERMILLE = 1000
UNKNOWN_DATA = ("LocalOnly", "Reject", "Allow")
_PARTS = frozenset({"formatVersion", "cascades", "rules"})
SIGNALS = ("MeanLogprob", "LowQuantileLogprob", "AnswerLogprob")


@dataclass(frozen=True, slots=True)
class ExternalTarget:
    """An OpenAI-compatible API outside the fleet.  Files are paths inside the router's pod."""

    base_url: str
    api_key_file: str | None
    ca_file: str | None
    requests_per_minute: int | None = None  # of all routers together; None: no limit of ours
    tokens_per_minute: int | None = None


@dataclass(frozen=True, slots=True)
class AcceptRule:
    """When an answer is good enough: `signal` of its tokens is `threshold` or more, a log probability, so 0 or less."""

    signal: str  # one of SIGNALS
    threshold: float


@dataclass(frozen=True, slots=True)
class ColdRule:
    """Of a tier that runs nothing: how many requests may wait for its first replica, over all routers, and how long."""

    hold_s: float
    held_max: int


@dataclass(frozen=True, slots=True)
class Price:
    """What one token costs, in micro-dollars: as many as a million tokens cost dollars."""

    input_microdollars: float
    output_microdollars: float


@dataclass(frozen=True, slots=True)
class TierRoute:
    """One step of a cascade.  Exactly one of `service` and `external` is set.

    What has a default came later than the first tables: those are still read.  A default never changes.
    """

    name: str  # the step's name inside the Cascade, e.g. small
    model_tier: str  # name of the ModelTier
    served_name: str  # what `model` is rewritten to
    weight_permille: int  # share of requests that start here
    timeout_s: float  # one attempt
    service: str | None  # Service whose EndpointSlices list the replicas
    external: ExternalTarget | None
    engine: str = "external"  # one of ENGINES: how it is asked for log probabilities
    accept: AcceptRule | None = None  # None: every answer
    concurrency: int | None = (
        None  # requests that one router gives one replica at a time; None: no limit of ours
    )
    waiting: int = 0  # requests per replica that may wait for a place in one router
    prefix_characters: int = 0  # of each message, that decide for a replica; 0: only its load does
    cold: ColdRule | None = None  # set while it sleeps, and until its first replica answers
    price: Price | None = None  # None: its tokens cost nothing
    service_port: str | None = (
        None  # the slices' port by name, of a Service that is not the operator's; "": it has no name
    )
    context_tokens: int | None = None  # of one request, prompt and answer together; None: not known
    # For the law of its Cascade, where there is one: of one replica, over all routers.
    carries_per_hour: int = 0  # requests of this Cascade, within its objectives
    under_way: int = 0  # of them at a time then
    least_permille: int = 0  # of all entries
    most_permille: int = 1000


@dataclass(frozen=True, slots=True)
class OverflowRule:
    """Which requests leave a tier that cannot take them: at most `share_percent` of all, for a cause in `when`."""

    when: tuple[str, ...]  # of OVERFLOWS
    share_percent: int


@dataclass(frozen=True, slots=True)
class DataRule:
    """Which requests may reach external tiers, by the class of data that they name.  All names are in lower case."""

    header: str  # where they name it
    local_only: tuple[str, ...]  # classes that stay inside
    allowed: tuple[str, ...]  # classes that may leave
    unknown: str  # one of UNKNOWN_DATA: any other class, and none


@dataclass(frozen=True, slots=True)
class CascadeRoute:
    """One Cascade.  Weights sum to 1000, or are all 0 where no tier was ever ready."""

    cascade: str  # name of the Cascade object
    model_name: str  # what clients put in `model`
    deadline_s: float
    max_body_bytes: int
    tiers: tuple[TierRoute, ...]
    max_escalations: int = 1
    hold_tokens: int = 24  # how much of a stream is judged: so many tokens,
    hold_s: float = 0.12  # or what has come so long after the first one
    observe: bool = False  # judge and count, escalate nothing
    overflow: OverflowRule | None = None  # None: what fails falls back without a bound, what is busy waits
    choose_tier: bool = False  # clients may name the tier that answers them
    choose_floor: bool = False  # clients may name the cheapest tier that may answer them
    max_cost_microdollars: float | None = None  # of one request, over all its tiers; None: no limit
    data: DataRule | None = None  # None: all requests may reach every tier
    # What the last tier owes of all answers over an hour: routers move entries by themselves then, from second to
    # second (route/law.py).  None: they enter by weight_permille.
    owed_permille: int | None = None


@dataclass(frozen=True, slots=True)
class RouterRules:
    """What holds for everything that one router serves: the operator's settings and what it observes."""

    routers: int = 1  # that are ready: limits which hold for the whole are divided by it
    wake: tuple[str, ...] = ()  # host:port of the operators, called when a request needs a cold tier
    access_log_percent: int = 0  # of requests that get a line in the access log; 0: there is none
    tracing_endpoint: str = ""  # base URL of an OTLP/HTTP collector; empty: nothing is traced
    tracing_percent: int = 0  # of requests that are traced where their caller says nothing about it
    external_allow: tuple[
        str, ...
    ] = ()  # networks where external tiers may be; none: all that nothing denies
    external_deny: tuple[str, ...] = ()  # networks where they may not


@dataclass(frozen=True, slots=True)
class RouteTable:
    """All Cascades of one router, by model name, and its rules."""

    cascades: tuple[CascadeRoute, ...]
    rules: RouterRules = RouterRules()


def encode(table: RouteTable) -> dict[str, Any]:
    """The table as JSON-ready values, with its format version first.

    What is at its default is left out.  So a router that is older than its operator reads every table that uses
    nothing it does not know; one that does, it refuses, as a rule that it would ignore might be a data policy.
    """
    return {"formatVersion": FORMAT_VERSION, **_plain(table)}


def _plain(value: Any) -> Any:
    if isinstance(value, tuple):
        return [_plain(each) for each in value]
    if not is_dataclass(value) or isinstance(value, type):
        return value
    found = {field.name: (getattr(value, field.name), field.default) for field in fields(value)}
    return {
        name: _plain(one) for name, (one, default) in found.items() if default is MISSING or one != default
    }


def decode(raw: Any) -> RouteTable:
    """The table in `raw`.  Raises ValueError when the format is unknown or anything is missing or of a wrong shape."""
    if not isinstance(raw, Mapping):
        raise ValueError(f"route table is no object: {raw!r:.40}")  # noqa: TRY004 - one error for a broken table
    version = raw.get("formatVersion")
    if version != FORMAT_VERSION:
        raise ValueError(f"route table has formatVersion {version!r}, this router reads {FORMAT_VERSION}")
    if unknown := raw.keys() - _PARTS:
        raise ValueError(f"route table has {', '.join(sorted(unknown))}, which this router does not know")
    if not isinstance(raw.get("cascades", []), list):
        raise ValueError("route table has no list of cascades")  # noqa: TRY004 - likewise
    try:
        table = RouteTable(
            cascades=tuple(_cascade(cascade) for cascade in raw["cascades"]),
            rules=_rules(raw.get("rules", {})),
        )
    except (KeyError, TypeError, AttributeError) as err:
        raise ValueError(f"route table is broken: {err!r}") from err
    if len({cascade.model_name for cascade in table.cascades}) < len(table.cascades):
        raise ValueError("route table names a model twice")
    return table


def _rules(raw: Mapping[str, Any]) -> RouterRules:
    lists = {name: tuple(raw.get(name, ())) for name in ("wake", "external_allow", "external_deny")}
    rules = _checked(RouterRules(**{**raw, **lists}))
    for network in (*rules.external_allow, *rules.external_deny):
        ip_network(str(network))  # of a number it would make one
    if not all(isinstance(each, str) and each for each in rules.wake):
        raise ValueError(f"route table has operators that are no addresses: {rules.wake}")
    if rules.routers < 1:
        raise ValueError(f"route table is for {rules.routers} routers, and read by at least one")
    for percent in (rules.access_log_percent, rules.tracing_percent):
        if not 0 <= percent <= PERCENT_MAX:
            raise ValueError(f"route table wants {percent} percent of requests told")
    return rules


def _cascade(raw: Mapping[str, Any]) -> CascadeRoute:
    read = {
        "tiers": tuple(_tier(tier) for tier in raw["tiers"]),
        "overflow": _overflow(raw.get("overflow")),
        "data": _data(raw.get("data")),
    }
    cascade = _checked(CascadeRoute(**{**raw, **read}))
    if not cascade.tiers or sum(tier.weight_permille for tier in cascade.tiers) not in (0, PERMILLE):
        raise ValueError(f"cascade {cascade.cascade!r} has no tiers, or weights that do not sum to 1000")
    if cascade.deadline_s <= 0 or cascade.max_body_bytes <= 0:
        raise ValueError(f"cascade {cascade.cascade!r} has limits that let nothing through")
    if cascade.max_cost_microdollars is not None and not 0 < cascade.max_cost_microdollars < inf:
        raise ValueError(f"cascade {cascade.cascade!r} has a limit on cost that is none")
    if cascade.owed_permille is not None and not _lawful(cascade):
        raise ValueError(f"cascade {cascade.cascade!r} moves its entries by numbers that are none")
    if cascade.tiers[-1].accept is not None or cascade.hold_tokens < 1:
        raise ValueError(f"cascade {cascade.cascade!r} escalates to nowhere, or judges nothing")
    return cascade


def _lawful(cascade: CascadeRoute) -> bool:
    return 0 <= (cascade.owed_permille or 0) <= PERMILLE and all(
        tier.carries_per_hour > 0
        and tier.under_way > 0
        and 0 <= tier.least_permille <= tier.most_permille <= PERMILLE
        for tier in cascade.tiers
    )


def _data(raw: Mapping[str, Any] | None) -> DataRule | None:
    if raw is None:
        return None
    named = {field: tuple(raw[field]) for field in ("local_only", "allowed")}
    rule = _checked(DataRule(**{**raw, **named}))
    words = (rule.header, *rule.local_only, *rule.allowed)
    if rule.unknown not in UNKNOWN_DATA or any(not word or word != word.lower() for word in words):
        raise ValueError("route table has a data policy that this router does not understand")
    return rule


def _overflow(raw: Mapping[str, Any] | None) -> OverflowRule | None:
    if raw is None:
        return None
    rule = _checked(OverflowRule(**{**raw, "when": tuple(raw["when"])}))
    if not rule.when or set(rule.when) - set(OVERFLOWS) or not 1 <= rule.share_percent <= PERCENT_MAX:
        raise ValueError(f"route table has an overflow of {rule.share_percent} percent when {rule.when}")
    return rule


def _target(raw: Mapping[str, Any]) -> ExternalTarget:
    target = _checked(ExternalTarget(**raw))
    if any(
        limit is not None and limit < 1 for limit in (target.requests_per_minute, target.tokens_per_minute)
    ):
        raise ValueError(f"route table lets nothing through to {target.base_url!r}")
    return target


def _tier(raw: Mapping[str, Any]) -> TierRoute:
    external = raw["external"]
    target = None if external is None else _target(external)
    accept = raw.get("accept")
    rule = None if accept is None else _checked(AcceptRule(**accept))
    cold = None if raw.get("cold") is None else _checked(ColdRule(**raw["cold"]))
    price = None if raw.get("price") is None else _checked(Price(**raw["price"]))
    read = {"external": target, "accept": rule, "cold": cold, "price": price}
    tier = _checked(TierRoute(**{**raw, **read}))
    if cold is not None and (cold.hold_s <= 0 or cold.held_max < 0):
        raise ValueError(f"tier {tier.name!r} is cold and lets requests wait for less than nothing")
    if price is not None and not 0 <= min(price.input_microdollars, price.output_microdollars) < inf:
        raise ValueError(f"tier {tier.name!r} has a price that is none")
    if (tier.service is None) == (tier.external is None):
        raise ValueError(f"tier {tier.name!r} needs exactly one of service and external")
    if tier.service_port is not None and tier.service is None:
        raise ValueError(f"tier {tier.name!r} has a port of no Service")
    if tier.weight_permille < 0 or tier.timeout_s <= 0:
        raise ValueError(f"tier {tier.name!r} has a negative weight or no time to answer")
    if (
        (tier.context_tokens is not None and tier.context_tokens < 1)
        or (tier.concurrency is not None and tier.concurrency < 1)
        or min(tier.waiting, tier.prefix_characters) < 0
    ):
        raise ValueError(f"tier {tier.name!r} has no room for any request, or a prefix of less than nothing")
    if tier.engine not in ENGINES or (
        rule is not None and (rule.signal not in SIGNALS or rule.threshold > 0)
    ):
        raise ValueError(f"tier {tier.name!r} has an engine or a signal that this router does not know")
    return tier


_Made = TypeVar(
    "_Made",
    ExternalTarget,
    AcceptRule,
    OverflowRule,
    DataRule,
    ColdRule,
    Price,
    TierRoute,
    CascadeRoute,
    RouterRules,
)


def _checked(made: _Made) -> _Made:
    """The same object, when every field is of its declared type.  A dataclass itself does not look."""
    for field in fields(made):
        kind: Any = tuple if get_origin(field.type) is tuple else field.type
        kind = int | float if kind is float else kind
        value = getattr(made, field.name)
        if (isinstance(value, bool) and kind is not bool) or not isinstance(value, kind):
            raise ValueError(f"route table has {value!r} as {field.name}")
    return made
