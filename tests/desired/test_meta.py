from modelfleet.desired import meta
from tests.make import cascade, tier


def test_a_tier_controls_its_children():
    assert meta.owned_by_tier(tier()) == [
        {
            "apiVersion": "modelfleet.dev/v1alpha1",
            "kind": "ModelTier",
            "name": "small",
            "uid": "uid-of-small",
            "controller": True,
        }
    ]


def test_cascades_own_a_router_together_in_any_order():
    one, two = cascade("one"), cascade("two")

    assert meta.owned_by_cascades([two, one]) == meta.owned_by_cascades([one, two])
    assert not any("controller" in owner for owner in meta.owned_by_cascades([one, two]))


def test_selectors_are_among_the_labels():
    assert meta.tier_selector(tier()).items() <= meta.tier_labels(tier()).items()
    assert meta.router_selector("r").items() <= meta.router_labels("r").items()
