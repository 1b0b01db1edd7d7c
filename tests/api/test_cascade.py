from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from modelfleet.api.cascade import Cascade, CascadeSpec, initial_weights, permille


def spec(**weights: int | None) -> CascadeSpec:
    tiers: list[dict[str, Any]] = [
        {"name": name, "tierRef": {"name": name}}
        | ({} if initial is None else {"weight": {"initial": initial}})
        for name, initial in weights.items()
    ]
    return CascadeSpec.model_validate({"modelName": "chat", "tiers": tiers})


WEIGHTS = {
    "no weights: all start at the cheapest": (spec(small=None, big=None), {"small": 1000, "big": 0}),
    "relative weights are scaled": (spec(small=3, big=1), {"small": 750, "big": 250}),
    "a tier without a weight has none": (spec(small=100, big=None), {"small": 1000, "big": 0}),
    "only the last one": (spec(small=0, big=5), {"small": 0, "big": 1000}),
    "thirds: the remainder goes to the first": (spec(a=1, b=1, c=1), {"a": 334, "b": 333, "c": 333}),
}


@pytest.mark.parametrize(("wanted", "want"), WEIGHTS.values(), ids=WEIGHTS)
def test_initial_weights(wanted: CascadeSpec, want: dict[str, int]) -> None:
    assert initial_weights(wanted) == want


RELATIVE = st.dictionaries(st.text(min_size=1, max_size=3), st.integers(0, 1_000_000), min_size=1, max_size=8)


@given(RELATIVE)
def test_permille_sums_to_the_whole_or_to_nothing(relative: dict[str, int]) -> None:
    assert sum(permille(relative).values()) == (1000 if any(relative.values()) else 0)


@given(RELATIVE)
def test_permille_keeps_zero_at_zero_and_is_near_the_exact_share(relative: dict[str, int]) -> None:
    total = sum(relative.values())

    for name, share in permille(relative).items():
        exact = relative[name] * 1000 / total if total else 0
        assert abs(share - exact) < 1
        assert share == 0 or relative[name] > 0


def test_reads_what_a_newer_version_has_stored() -> None:
    stored = {
        "modelName": "chat",
        "tiers": [{"name": "a", "tierRef": {"name": "a"}, "quality": {}}],
        "mystery": {},
    }

    cascade = Cascade.model_validate({"metadata": {"name": "c"}, "spec": stored})

    assert cascade.spec.limits.deadline == "120s"
    assert cascade.spec.router.dedicated is None
