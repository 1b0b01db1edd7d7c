import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from modelfleet import names

DNS_1035 = re.compile(r"[a-z]([-a-z0-9]{0,61}[a-z0-9])?")
LABEL = r"[a-z0-9]([-a-z0-9]{0,20}[a-z0-9])?"
OBJECT_NAMES = st.from_regex(rf"{LABEL}(\.{LABEL}){{0,4}}", fullmatch=True)
LONG = "a" * 253

CHILDREN = {
    "a plain name keeps it": ("smollm2", "smollm2-tier"),
    "a dot is no part of a child's name": ("llama-3.1-8b", "llama-3-1-8b-{hash}-tier"),
    "a digit cannot come first": ("7b", "m-7b-{hash}-tier"),
    "the longest name that still fits": ("a" * 58, "a" * 58 + "-tier"),
    "one more is cut": ("a" * 59, "a" * 49 + "-{hash}-tier"),
    "the longest name there is": (LONG, "a" * 49 + "-{hash}-tier"),
}


@pytest.mark.parametrize(("tier", "want"), CHILDREN.values(), ids=CHILDREN)
def test_tier_child(tier: str, want: str) -> None:
    pattern = re.escape(want).replace(re.escape("{hash}"), "[0-9a-f]{8}")

    assert re.fullmatch(pattern, names.tier_child(tier))


@given(OBJECT_NAMES)
def test_any_object_name_makes_a_service_name(name: str) -> None:
    for child in (names.tier_child(name), names.router(name), names.route_table(names.router(name))):
        assert DNS_1035.fullmatch(child), child


@given(OBJECT_NAMES, OBJECT_NAMES)
def test_two_objects_never_share_a_child(one: str, other: str) -> None:
    assert (names.tier_child(one) == names.tier_child(other)) == (one == other)


ALIKE = {
    "a dot and a dash": ("llama-3.1", "llama-3-1"),
    "two long names with one beginning": (LONG, "a" * 252),
    "one that looks like the other's child": ("7b", "m-7b"),
}


@pytest.mark.parametrize(("one", "other"), ALIKE.values(), ids=ALIKE)
def test_names_that_look_alike_stay_apart(one: str, other: str) -> None:
    assert names.tier_child(one) != names.tier_child(other)


def test_router_is_the_namespaces_own_or_a_cascades() -> None:
    assert names.router() == names.SHARED_ROUTER
    assert names.router("chat") == "chat-cascade-router"
    assert names.route_table(names.router()) == "modelfleet-router-table"


@given(OBJECT_NAMES)
def test_no_cascade_takes_the_shared_routers_name(cascade: str) -> None:
    assert names.router(cascade) != names.SHARED_ROUTER
