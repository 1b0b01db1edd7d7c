from dataclasses import replace

import pytest

from modelfleet.api.route_table import CascadeRoute, Price, TierRoute
from modelfleet.route import account
from modelfleet.route.account import End
from modelfleet.route.journey import Journey, Spent

ROUTE = CascadeRoute("c", "chat", 8.0, 1 << 20, ())


def _line(end: End, journey: Journey | None = None) -> dict[str, object]:
    return account.line(end, path=b"/v1/x", key="team", stream=True, route=ROUTE, journey=journey)


def test_refused_at_the_door():
    line = account.line(
        End(account.REFUSED, 404, "model_not_found", 5.0),
        path=b"/v1/x",
        key=None,
        stream=False,
        route=None,
        journey=None,
    )

    assert line == {
        "path": "/v1/x", "model": None, "cascade": None, "key": None, "stream": False,
        "result": "Refused", "status": 404, "error": "model_not_found",
    }  # fmt: skip


def test_tokens_are_those_of_all_tiers():
    journey = Journey(judged=True, start_s=100.0)
    journey.began("small")
    journey.rejected(Spent(None, 4))
    journey.began("big")
    journey.used, journey.opened_s = (10, 6), 100.5

    line = _line(End(account.ANSWERED, 200, None, 102.0), journey)

    assert (line["tier"], line["attempts"], line["escalations"]) == ("big", 2, 1)
    assert (line["input_tokens"], line["output_tokens"]) == (20, 10)
    assert (line["duration_s"], line["first_token_s"]) == (2.0, 0.5)


COSTS: dict[str, tuple[dict[str, Price], list[Spent], float | None]] = {
    "no tier has a price": ({}, [], None),
    "the tier that answered has one": ({"big": Price(2.0, 8.0)}, [], (100 * 2 + 10 * 8) / 1e6),
    "so has one that was given up": (
        {"small": Price(0.5, 1.0), "big": Price(2.0, 8.0)},
        [Spent(None, 4, "small")],
        (100 * 2 + 10 * 8 + 100 * 0.5 + 4 * 1.0) / 1e6,
    ),
    "only that has one": ({"small": Price(0.5, 1.0)}, [Spent(90, 4, "small")], (90 * 0.5 + 4 * 1.0) / 1e6),
}


@pytest.mark.parametrize(("prices", "spent", "want"), COSTS.values(), ids=COSTS)
def test_cost(prices: dict[str, Price], spent: list[Spent], want: float | None):
    tiers = tuple(
        TierRoute(name, name, name, 0, 5.0, "svc", None, price=prices.get(name)) for name in ("small", "big")
    )
    journey = Journey()
    for one in spent:
        journey.rejected(one)
    journey.began("big")
    journey.used = (100, 10)

    assert account.cost_usd(replace(ROUTE, tiers=tiers), journey) == want


def test_what_counts_as_failed():
    ends = {
        "answered": (End(account.ANSWERED, 200, None, 0.0), False),
        "the client's fault": (End(account.REFUSED, 400, None, 0.0), False),
        "busy": (End(account.REFUSED, 429, "busy", 0.0), False),
        "nobody could": (End(account.REFUSED, 503, "unavailable", 0.0), True),
        "broke off": (End(account.BROKEN, 200, "upstream_broken", 0.0), True),
        "the client left": (End(account.CANCELLED, 499, None, 0.0), False),
    }

    assert {name: end.failed for name, (end, _) in ends.items()} == {
        name: want for name, (_, want) in ends.items()
    }
