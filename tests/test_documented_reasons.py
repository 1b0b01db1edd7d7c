"""The words that users meet are explained to them."""

import re
from pathlib import Path

from modelfleet.control.capacity import cascade_status, tier_status
from modelfleet.plan import controls, group, pools, rails, rules, service_level, shares, weights

ROOT = Path(__file__).parents[1]
DOCUMENT = (ROOT / "docs" / "capacity.md").read_text()
WORD = re.compile(r'"([A-Z][A-Za-z]+[a-z])"')
# Names of conditions, statuses, modes and sources; and a reason that changes nothing.
NOT_REASONS = {
    "Budget",
    "ScalingActive",
    "ShareOnTarget",
    "WithinSLO",
    "Minimum",
    "Maximum",
    "Accepted",
    "True",
    "False",
    "Unknown",
    "Unchanged",
    "Auto",
    "Fixed",
    "Silent",
    "Prometheus",
}


def test_every_reason_is_in_the_document():
    sources = [
        Path(module.__file__ or "").read_text()
        for module in (
            *(controls, group, pools, rails, rules, service_level, weights, shares),
            *(tier_status, cascade_status),
        )
    ]
    used = {word for source in sources for word in WORD.findall(source)} - NOT_REASONS

    assert {word for word in used if f"`{word}`" not in DOCUMENT} == set()
    assert len(used) > 25


def test_every_error_code_is_in_the_table_of_what_clients_see():
    code = re.compile(r'code="(\w+)"')
    sources = (ROOT / "operator" / "modelfleet" / "route").glob("*.py")
    used = {word for source in sources for word in code.findall(source.read_text(encoding="utf-8"))}
    page = (ROOT / "docs" / "troubleshooting.md").read_text(encoding="utf-8")

    assert {word for word in used if f"`{word}`" not in page} == set()
    assert len(used) > 25
