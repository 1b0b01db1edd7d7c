import pytest

from modelfleet.plan.snapshot import Name
from modelfleet.plan.targets import Pod, Targets

SMALL, BIG = Name("team", "small"), Name("team", "big")
FLEET = Targets(
    engines=(
        Pod("team", "small-0", "10.0.0.1", 8000, SMALL),
        Pod("team", "big-0", "fd00::1", 8000, BIG),
        Pod("team", "small-1", "192.168.0.1", 8000, SMALL),
        Pod("team", "big-1", "192.168.0.1", 8000, BIG),
    )
)
CASES = {
    "by its name": ({"namespace": "team", "pod": "small-0", "instance": "x"}, SMALL),
    "the name says more than the address": ({"namespace": "team", "pod": "big-0", "instance": "10.0.0.1:8000"}, BIG),
    "by its address": ({"instance": "10.0.0.1:8000"}, SMALL),
    "by its address, IPv6": ({"instance": "[fd00::1]:8000"}, BIG),
    "two pods on one host: only the name tells": ({"instance": "192.168.0.1:8000"}, None),
    "somebody else's": ({"namespace": "other", "pod": "small-0", "instance": "10.9.9.9:8000"}, None),
    "no word of where it is from": ({}, None),
}  # fmt: skip


@pytest.mark.parametrize(("labels", "want"), CASES.values(), ids=CASES)
def test_tier_of(labels: dict[str, str], want: Name | None):
    assert FLEET.tier_of(labels) == want
