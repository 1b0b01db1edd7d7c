"""What the operator writes into a router's ConfigMap and the router reads: plain dataclasses, no pydantic.

The router's process carries no model library; `route_table_reader` reads what this writes.

A router may be older than its operator, for the minutes of an upgrade or for as long as somebody holds its image.  A
field that is new to it makes it refuse the table, unless the field is declared with OPTIONAL: the table lists those,
and a reader that does not know them goes on without.  That is for fields whose absence costs a little speed or
smoothness, never for what limits, forbids or pays for something.
"""

from collections.abc import Iterator, Mapping
from dataclasses import MISSING, dataclass, field, fields, is_dataclass
from typing import Any

FORMAT_VERSION = 1
ENGINES = ("vllm", "llamaCpp", "external")
OVERFLOWS = ("Cold", "Saturated", "Error")
PERMILLE = 1000
UNKNOWN_DATA = ("LocalOnly", "Reject", "Allow")
STOP_ESCALATING, REJECT = "StopEscalating", "Reject"
SPENT = (STOP_ESCALATING, "SkipTier", REJECT)
SIGNALS = ("MeanLogprob", "LowQuantileLogprob", "AnswerLogprob")
OPTIONAL: Mapping[str, bool] = {"optional": True}  # metadata of a field that an older router may do without


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
class LastHour:
    """What a router that begins goes on from: how the last tier stands with what it owes, over all routers."""

    answers: int
    ahead_permille: int  # of them, that it gave beyond what it owed; negative: that it still owes


@dataclass(frozen=True, slots=True)
class BudgetSpent:
    """Of a Cascade that may spend no more in this window: what is done about it, and until when (Unix time)."""

    action: str  # one of SPENT
    until_s: float


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
    spent: BudgetSpent | None = None  # None: there is money, or no budget
    # What the last tier owes of all answers over an hour: routers move entries by themselves then, from second to
    # second (route/law.py).  None: they enter by weight_permille.
    owed_permille: int | None = None
    last_hour: LastHour | None = field(default=None, metadata=OPTIONAL)  # None: not known


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

    What is at its default is left out, so an older router reads every table that uses nothing it does not know.
    """
    optional = sorted(set(_optional(table, "")))
    return {
        "formatVersion": FORMAT_VERSION,
        **({"optional": optional} if optional else {}),
        **_plain(table),
    }


def _plain(value: Any) -> Any:
    if isinstance(value, tuple):
        return [_plain(each) for each in value]
    if not is_dataclass(value) or isinstance(value, type):
        return value
    found = {field.name: (getattr(value, field.name), field.default) for field in fields(value)}
    return {
        name: _plain(one) for name, (one, default) in found.items() if default is MISSING or one != default
    }


def _optional(value: Any, path: str) -> Iterator[str]:
    """Paths, as in `cascades.tiers.name`, of the optional fields that the table uses."""
    if isinstance(value, tuple):
        for each in value:
            yield from _optional(each, path)
    elif is_dataclass(value) and not isinstance(value, type):
        for field in fields(value):
            found, inner = getattr(value, field.name), f"{path}.{field.name}" if path else field.name
            if field.metadata.get("optional") and found != field.default:
                yield inner
            yield from _optional(found, inner)
