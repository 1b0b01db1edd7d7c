"""The verdict on classes of data."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from modelfleet.api.route_table import UNKNOWN_DATA, DataRule
from modelfleet.route import data_policy

CLASSES = st.frozensets(st.sampled_from(["private", "public", "odd", ""]))
RULES = st.builds(
    DataRule,
    header=st.just("x-class"),
    local_only=st.just(("private",)),
    allowed=st.just(("public",)),
    unknown=st.sampled_from(UNKNOWN_DATA),
)
STRICTNESS = [data_policy.ALLOW, data_policy.LOCAL_ONLY, data_policy.REJECT]


@given(RULES, CLASSES, CLASSES)
def test_the_strictest_wins(rule: DataRule, some: frozenset[str], more: frozenset[str]):
    both = data_policy.verdict(rule, some | more)
    parts = [data_policy.verdict(rule, named) for named in (some, more) if named or not some | more]

    assert STRICTNESS.index(both) == max(map(STRICTNESS.index, parts))


@given(RULES, CLASSES)
def test_only_what_is_allowed_leaves(rule: DataRule, named: frozenset[str]):
    found = data_policy.verdict(rule, named)

    assert found != data_policy.ALLOW or rule.unknown == "Allow" or named == {"public"}
    assert "private" not in named or found != data_policy.ALLOW


READ = {
    "none": ([(b"accept", b"private")], set()),
    "one": ([(b"x-class", b"Private")], {"private"}),
    "several": ([(b"x-class", b"a, b"), (b"x-class", b"C")], {"a", "b", "c"}),
    "an empty one": ([(b"x-class", b"")], {""}),
}


@pytest.mark.parametrize(("headers", "want"), READ.values(), ids=READ)
def test_classes_of_a_request(headers: list[tuple[bytes, bytes]], want: set[str]):
    assert data_policy.classes(headers, b"x-class") == want


UNREADABLE = ["private;q=1", '"private"', "public private", "private\x0b", "priv\xe3\xa4te", "-"]


@pytest.mark.parametrize("name", UNREADABLE)
def test_what_is_no_class_stays_even_where_unknown_ones_may_leave(name: str):
    rule = DataRule("x-class", ("private",), ("public",), "Allow")

    assert data_policy.verdict(rule, {name}) == data_policy.LOCAL_ONLY
    assert data_policy.verdict(rule, {name, "public"}) == data_policy.LOCAL_ONLY
    assert data_policy.verdict(rule, {"odd"}) == data_policy.ALLOW
