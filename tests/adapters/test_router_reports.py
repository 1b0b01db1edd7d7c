import httpx
import pytest

from modelfleet.adapters.router_reports import RouterReports


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
    reports = RouterReports(httpx.AsyncClient(transport=httpx.MockTransport(answer)))

    assert await reports.keys_missing(addresses) == want
    await reports.close()
