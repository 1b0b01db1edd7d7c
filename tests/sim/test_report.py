"""What a run says."""

import json
from dataclasses import replace

import pytest

from modelfleet.plan.profiles import PROFILES
from modelfleet.sim import report
from modelfleet.sim.arrivals import staged
from modelfleet.sim.fleet import Cascade, Tier
from modelfleet.sim.policies.simple import Static
from modelfleet.sim.world import World

SMALL = Tier("small", PROFILES["8b-h100"], replicas_start=1, usd_per_replica_hour=3.0)
FLEET = Cascade((SMALL, Tier("big", PROFILES["70b-h100-tp4"], gpus=4, replicas_start=1)))
LOAD = staged([(5.0, 120.0)], prompt=200, output=50, seed=1)
TALLY = World(FLEET, LOAD, Static(), entry=(0.8, 0.2)).run(150.0)
RESULT = report.result("static", TALLY)


def test_numbers_survive_json():
    found = json.loads(json.dumps(report.document("a load", FLEET, [(RESULT, TALLY)])))

    assert found["results"][0]["requests"] == TALLY.arrivals
    assert found["tiers"] == ["small", "big"]
    first = found["minutes"]["static"][0]
    assert (first["replicas"], first["entry"]) == ([1, 1], [0.8, 0.2])
    assert 0 < first["ttft_p95_s"] < 0.5
    assert sum(one["usd"] for one in found["minutes"]["static"]) == pytest.approx(TALLY.usd, rel=0.01)


def test_a_row_has_units_and_no_number_where_there_is_none():
    row = report.columns(RESULT)

    assert row["served within SLO"] == "100.00 %"
    assert row["TTFT p95"].endswith(" ms")
    assert row["right"] == "-"
    assert report.columns(replace(RESULT, usd=0.0))["USD"] == "-"  # without a price


def test_a_page_needs_no_network():
    page = report.page("a load", FLEET, [(RESULT, TALLY)])

    assert "<td>static</td>" in page
    assert '<script src="http' not in page
    for title in (
        "static: requests per second, and replicas",
        "served within the objectives",
        "time to the first token",
        "entries that begin at big, percent",
        "spent so far, US dollars",
        "GPU hours so far",
    ):
        assert title in page


def test_a_load_of_any_name_breaks_no_page():
    assert "<h1>a &lt;b&gt; load</h1>" in report.page("a <b> load", FLEET, [(RESULT, TALLY)])
