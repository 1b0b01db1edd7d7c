import time

import httpx
import pytest
from prometheus_client.exposition import generate_latest

from modelfleet.adapters.pages import Pages
from modelfleet.adapters.router_reports import SERIES, RouterReports
from modelfleet.api.route_table import Price
from modelfleet.plan.snapshot import Quiet
from modelfleet.router.metrics import RouterMetrics


def reports_of(transport: httpx.MockTransport) -> RouterReports:
    return RouterReports(Pages(SERIES, lambda: 0.0, client=httpx.AsyncClient(transport=transport)))


def series(tier: str, value: str) -> str:
    labels = f'cascade="chat",fleet_namespace="ns",model_tier="{tier}",tier="x"'
    return f"modelfleet_router_external_key_missing{{{labels}}} {value}\n"


ROUTERS = {
    "10.0.0.1": httpx.Response(200, text="# HELP x\n" + series("frontier", "1.0") + series("other", "0.0")),
    "10.0.0.2": httpx.Response(200, text=series("frontier", "0.0") + series("third", "1")),
    "10.0.0.3": httpx.Response(503),
    "[fd00::1]": httpx.Response(200, text=""),
}
CASES = {
    "one misses a key": (["10.0.0.1"], {"frontier"}),
    "any router's word counts": (["10.0.0.1", "10.0.0.2"], {"frontier", "third"}),
    "one is silent: the other's word": (["10.0.0.1", "10.0.0.9", "10.0.0.3"], {"frontier"}),
    "nobody answers: nothing is known": (["10.0.0.9", "10.0.0.3"], None),
    "there is nobody: nothing is known": ([], None),
    "all have their keys": (["fd00::1"], set()),
}


def answer(request: httpx.Request) -> httpx.Response:
    host, _, port = request.url.netloc.decode().rpartition(":")
    assert (port, request.url.path) == ("9090", "/metrics")
    if host not in ROUTERS:
        raise httpx.ConnectError("nobody")
    return ROUTERS[host]


@pytest.mark.parametrize(("addresses", "want"), CASES.values(), ids=CASES)
async def test_keys_missing(addresses: list[str], want: set[str] | None):
    reports = reports_of(httpx.MockTransport(answer))

    assert await reports.keys_missing(addresses) == want


def told(tier: str, idle: str, held: str | None = None) -> str:
    labels = f'{{fleet_namespace="ns",model_tier="{tier}"}}'
    lines = f"modelfleet_router_idle_seconds{labels} {idle}\n"
    return lines if held is None else f"{lines}modelfleet_router_requests_held{labels} {held}\n"


QUIET = {
    "10.0.0.1": httpx.Response(200, text=told("small", "12.5", "0.0") + told("big", "1e+04", "3.0")),
    "10.0.0.2": httpx.Response(200, text=told("small", "0.0")),
    "10.0.0.3": httpx.Response(503, text=told("small", "99.0")),
    "10.0.0.4": httpx.Response(200, text=told("small", "1e+-", "0.0")),
}


def say(request: httpx.Request) -> httpx.Response:
    host = request.url.host
    if host not in QUIET:
        raise httpx.ConnectError("nobody")
    return QUIET[host]


async def test_quiet():
    reports = reports_of(httpx.MockTransport(say))

    got = await reports.quiet([*QUIET, "10.0.0.9"])

    assert got == {
        "10.0.0.1": {"small": Quiet(12.5, 0.0), "big": Quiet(10000.0, 3.0)},
        "10.0.0.2": {"small": Quiet(0.0, 0.0)},
    }


async def test_what_routers_write_is_what_is_read():
    metrics = RouterMetrics("ns", lambda: 100.0)
    metrics.pool("small").held = 2
    text = generate_latest(metrics.registry()).decode()
    transport = httpx.MockTransport(lambda _: httpx.Response(200, text=text))
    reports = reports_of(transport)

    assert await reports.quiet(["10.0.0.1"]) == {"10.0.0.1": {"small": Quiet(0.0, 2.0)}}


USABLE = {
    "10.0.0.1": httpx.Response(200, text='modelfleet_router_api_keys{state="usable"} 3.0\n'),
    "10.0.0.2": httpx.Response(200, text='modelfleet_router_api_keys{state="usable"} 0.0\n'),
    "10.0.0.3": httpx.Response(200, text="# asks for no keys\n"),
}


@pytest.mark.parametrize(
    ("addresses", "want"),
    [
        (["10.0.0.1"], 3),
        (["10.0.0.1", "10.0.0.2"], 0),
        (["10.0.0.1", "10.0.0.3"], 3),
        (["10.0.0.3"], None),
        ([], None),
    ],
)
async def test_keys_usable(addresses: list[str], want: int | None):
    transport = httpx.MockTransport(lambda request: USABLE[request.url.host])
    reports = reports_of(transport)

    assert await reports.keys_usable(addresses) == want


async def test_what_a_router_tells_of_its_keys_is_understood():
    metrics = RouterMetrics("ns")
    metrics.api_keys = lambda: {"usable": 12, "broken": 1}
    text = generate_latest(metrics.registry()).decode()
    reports = reports_of(httpx.MockTransport(lambda _: httpx.Response(200, text=text)))

    assert await reports.keys_usable(["10.0.0.1"]) == 12


def down(tier: str, reason: str) -> str:
    labels = f'{{fleet_namespace="ns",model_tier="{tier}",reason="{reason}"}}'
    return f"modelfleet_router_external_down{labels} 1.0\n"


DOWN = {
    "10.0.0.1": httpx.Response(200, text=down("api", "TLS") + down("other", "Refused")),
    "10.0.0.2": httpx.Response(200, text=down("api", "ConnectTimeout")),
    "10.0.0.3": httpx.Response(503, text=""),
    "10.0.0.4": httpx.Response(200, text="# an older router\n"),
}
OUTAGES = {
    "one router": (["10.0.0.1"], {"api": "TLS", "other": "Refused"}),
    "what one can ask is not down": (["10.0.0.1", "10.0.0.2"], {"api": "TLS"}),
    "the silent one does not count": (["10.0.0.3", "10.0.0.2"], {"api": "ConnectTimeout"}),
    "one knows of no such thing": (["10.0.0.1", "10.0.0.4"], {}),
    "nobody answers": (["10.0.0.3"], None),
}


@pytest.mark.parametrize(("addresses", "want"), OUTAGES.values(), ids=OUTAGES)
async def test_outages(addresses: list[str], want: dict[str, str] | None):
    def say(request: httpx.Request) -> httpx.Response:
        return DOWN[request.url.host]

    reports = reports_of(httpx.MockTransport(say))

    assert await reports.outages(addresses) == want


async def test_outages_are_read_as_the_router_writes_them():
    metrics = RouterMetrics("ns")
    metrics.outages = lambda: {"api": "TLS"}
    text = generate_latest(metrics.registry()).decode()

    def say(_: httpx.Request) -> httpx.Response:
        return httpx.Response(200, text=text)

    reports = reports_of(httpx.MockTransport(say))

    assert await reports.outages(["10.0.0.1"]) == {"api": "TLS"}


async def test_counted_by_cascade_and_tier_of_a_real_page():
    metrics = RouterMetrics("ns")
    small, gpt, other = (
        metrics.tier(*names)
        for names in (("chat", "s", "small"), ("chat", "x", "gpt"), ("code", "s", "small"))
    )
    gpt.cost(Price(input_microdollars=10.0, output_microdollars=0.0))
    gpt.spend((100_000, 5))
    small.attempts["Answered"] += 3
    small.attempts["Escalated"] += 1
    other.attempts["Answered"] += 6
    page = generate_latest(metrics.registry()).decode()
    transport = httpx.MockTransport(
        lambda request: (
            httpx.Response(200, text=page) if "10.0.0.1" in str(request.url) else httpx.Response(503)
        )
    )

    found = await reports_of(transport).counted(["10.0.0.1", "10.0.0.2"])
    assert list(found) == ["10.0.0.1"]
    told = found["10.0.0.1"]
    assert told.dollars["chat"] == {"small": 0.0, "gpt": 1.0}
    assert told.sent["chat"]["small"] == 4.0
    assert told.all["small"] == 10.0
    assert 1e9 < told.began_s <= time.time() + 1
