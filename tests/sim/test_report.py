"""What a run says."""

import json

from modelfleet.plan.profiles import PROFILES
from modelfleet.sim import report
from modelfleet.sim.arrivals import staged
from modelfleet.sim.fleet import Cascade, Tier
from modelfleet.sim.policies.simple import Static
from modelfleet.sim.world import World

FLEET = Cascade((Tier("small", PROFILES["8b-h100"], replicas_start=1),))
TALLY = World(FLEET, staged([(5.0, 120.0)], prompt=200, output=50, seed=1), Static()).run(150.0)
RESULT = report.result("static", TALLY)


def test_numbers_survive_json():
    found = json.loads(json.dumps(report.document("a load", FLEET, [(RESULT, TALLY)])))

    assert found["results"][0]["requests"] == TALLY.arrivals
    assert found["tiers"] == ["small"]


def test_a_row_has_units_and_no_number_where_there_is_none():
    row = report.columns(RESULT)

    assert row["served within SLO"] == "100.00 %"
    assert row["TTFT p95"].endswith(" ms")
    assert row["right"] == "-"


def test_a_page_needs_no_network():
    page = report.page("a load", FLEET, [(RESULT, TALLY)])

    assert "<td>static</td>" in page
    assert '<script src="http' not in page
