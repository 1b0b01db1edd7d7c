"""Who may take requests, from what the endpoints controller says."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from modelfleet import names
from modelfleet.route.endpoints import Address, addresses, addresses_by_port


def _slice(service: str, *endpoints: dict[str, Any], port: Any = 8000, **more: Any) -> dict[str, Any]:
    return {
        "metadata": {"name": f"{service}-x", "labels": {names.LABEL_SERVICE: service}},
        "addressType": "IPv4",
        "ports": [{"name": "metrics", "port": 9}, {"name": "http", "port": port}],
        "endpoints": list(endpoints),
        **more,
    }


def _pod(
    ip: str, *, ready: bool | None = True, serving: bool | None = None, terminating: bool = False
) -> dict[str, Any]:
    conditions = {
        "ready": ready,
        "serving": ready if serving is None else serving,
        "terminating": terminating,
    }
    return {"addresses": [ip], "conditions": conditions}


DRAINING = _pod("10.0.0.9", ready=False, serving=True, terminating=True)

ROWS: dict[str, tuple[list[dict[str, Any]], dict[str, list[str]]]] = {
    "two ready, sorted": ([_slice("a", _pod("10.0.0.2"), _pod("10.0.0.1"))], {"a": ["10.0.0.1", "10.0.0.2"]}),
    "unknown readiness counts as ready": ([_slice("a", _pod("10.0.0.1", ready=None))], {"a": ["10.0.0.1"]}),
    "no conditions count as ready": ([_slice("a", {"addresses": ["10.0.0.1"]})], {"a": ["10.0.0.1"]}),
    "an unready one gets nothing": ([_slice("a", _pod("10.0.0.1", ready=False))], {}),
    "a draining one gets nothing beside a ready one": (
        [_slice("a", DRAINING, _pod("10.0.0.1"))],
        {"a": ["10.0.0.1"]},
    ),
    "a draining one is better than none": ([_slice("a", DRAINING)], {"a": ["10.0.0.9"]}),
    "slices of one Service are one list": (
        [_slice("a", _pod("10.0.0.1")), _slice("a", _pod("10.0.0.2"))],
        {"a": ["10.0.0.1", "10.0.0.2"]},
    ),
    "Services are apart": (
        [_slice("a", _pod("10.0.0.1")), _slice("b", DRAINING)],
        {"a": ["10.0.0.1"], "b": ["10.0.0.9"]},
    ),
    "no endpoints yet": ([_slice("a", endpoints=None)], {}),
    "no port yet": ([_slice("a", _pod("10.0.0.1"), ports=None)], {}),
    "names are not addresses": ([_slice("a", _pod("x.example"), addressType="FQDN")], {}),
    "nobody's slice": ([{**_slice("a", _pod("10.0.0.1")), "metadata": {"name": "x"}}], {}),
}


@pytest.mark.parametrize(("slices", "want"), ROWS.values(), ids=ROWS)
def test_addresses(slices: list[dict[str, Any]], want: dict[str, list[str]]):
    assert addresses(slices) == {name: tuple(Address(ip, 8000) for ip in ips) for name, ips in want.items()}


V6 = {"addressType": "IPv6"}
BY_PORT: dict[str, tuple[list[dict[str, Any]], dict[tuple[str, str], list[str]]]] = {
    "every port by its name": (
        [_slice("a", _pod("10.0.0.1"))],
        {("a", "http"): ["10.0.0.1:8000"], ("a", "metrics"): ["10.0.0.1:9"]},
    ),
    "a port without a name": (
        [_slice("a", _pod("10.0.0.1"), ports=[{"name": "", "port": 80}])],
        {("a", ""): ["10.0.0.1:80"]},
    ),
    "a port that pods number differently": (
        [
            _slice("a", _pod("10.0.0.1"), ports=[{"name": "http", "port": 80}]),
            _slice("a", _pod("10.0.0.2"), ports=[{"name": "http", "port": 81}]),
        ],
        {("a", "http"): ["10.0.0.1:80", "10.0.0.2:81"]},
    ),
    "two address families of the same pods": (
        [
            _slice("a", _pod("10.0.0.1"), ports=[{"name": "http", "port": 80}]),
            _slice("a", _pod("fd00::1"), ports=[{"name": "http", "port": 80}], **V6),
        ],
        {("a", "http"): ["10.0.0.1:80"]},
    ),
    "the other family alone": (
        [_slice("a", _pod("fd00::1"), ports=[{"name": "http", "port": 80}], **V6)],
        {("a", "http"): ["fd00::1:80"]},
    ),
    "a draining one is better than none": (
        [_slice("a", DRAINING, ports=[{"name": "http", "port": 80}])],
        {("a", "http"): ["10.0.0.9:80"]},
    ),
    "nobody is ready": ([_slice("a", _pod("10.0.0.1", ready=False))], {}),
    "no port yet": ([_slice("a", _pod("10.0.0.1"), ports=None)], {}),
    "a port of any number": ([_slice("a", _pod("10.0.0.1"), ports=[{"name": "http", "port": None}])], {}),
    "names are not addresses": ([_slice("a", _pod("x.example"), addressType="FQDN")], {}),
}


@pytest.mark.parametrize(("slices", "want"), BY_PORT.values(), ids=BY_PORT)
def test_addresses_by_port(slices: list[dict[str, Any]], want: dict[tuple[str, str], list[str]]):
    found = addresses_by_port(slices)

    assert {at: [f"{each.host}:{each.port}" for each in where] for at, where in found.items()} == want


_PODS = st.builds(
    _pod,
    st.integers(1, 20).map(lambda number: f"10.0.0.{number}"),
    ready=st.booleans(),
    serving=st.booleans(),
    terminating=st.booleans(),
)


@given(st.lists(_PODS, max_size=12))
def test_never_an_unready_replica_where_a_ready_one_exists(pods: list[dict[str, Any]]):
    found = {address.host for address in addresses([_slice("a", *pods)]).get("a", ())}
    ready = {pod["addresses"][0] for pod in pods if pod["conditions"]["ready"]}

    assert found == ready or not ready
