import copy
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from modelfleet import names
from modelfleet.desired import tier as desired
from modelfleet.diff.changes import (
    changes,
    child_id,
    contains,
    controlled_by,
    converged,
    owned_by_any,
    same_quantity,
)
from tests.make import SETTINGS, tier, vllm_tier

Objects = dict[tuple[str, str], Any]
OURS = controlled_by("uid-of-small")


def children(**spec: Any) -> tuple[Any, ...]:
    return desired.tier(tier(**spec), SETTINGS, revision=None, replicas=2).wanted


def stored(*manifests: Any) -> Objects:
    """What the API server would hold after the manifests were applied: theirs, and some defaults."""
    held: Objects = {}
    for manifest in manifests:
        item = copy.deepcopy(manifest)
        item["metadata"] |= {"uid": f"uid-of-{manifest['kind']}", "resourceVersion": "7"}
        item["status"] = {"observedGeneration": 1}
        held[child_id(manifest)] = item
    return held


def applied() -> Objects:
    return stored(*changes(children(), {}, ours=OURS).apply)


def test_nothing_there_everything_is_applied():
    got = changes(children(), {}, ours=OURS)

    assert [child_id(each) for each in got.apply] == [child_id(each) for each in children()]
    assert all(names.ANNOTATION_APPLIED_HASH in each["metadata"]["annotations"] for each in got.apply)
    assert not any("uid" in each["metadata"] for each in got.apply)


def test_converged_is_silent():
    assert not changes(children(), applied(), ours=OURS)


DEPLOYMENT = ("Deployment", "small-tier")


def edited(change: Any) -> Objects:
    held = applied()
    change(held[DEPLOYMENT])
    return held


def remove_argument(item: Any) -> None:
    item["spec"]["template"]["spec"]["containers"][0]["args"].pop()


def add_a_sidecar(item: Any) -> None:
    item["spec"]["template"]["spec"]["containers"].insert(0, {"name": "mesh", "image": "mesh:1"})


def lose_a_label(item: Any) -> None:
    del item["metadata"]["labels"][names.LABEL_TIER]


def lose_our_hash(item: Any) -> None:
    del item["metadata"]["annotations"][names.ANNOTATION_APPLIED_HASH]


def change_the_image(item: Any) -> None:
    item["spec"]["template"]["spec"]["containers"][0]["image"] = "evil:1"


def annotate(item: Any) -> None:
    item["metadata"]["annotations"]["somebody"] = "else"


def scale(item: Any) -> None:
    item["spec"]["replicas"] = 9


DRIFT = {
    "an argument is removed: healed": (remove_argument, True),
    "the image is changed: healed": (change_the_image, True),
    "replicas are changed: healed": (scale, True),
    "a label of ours is removed: healed": (lose_a_label, True),
    "our hash is removed: healed": (lose_our_hash, True),
    "a sidecar is injected: theirs": (add_a_sidecar, False),
    "an annotation is added: theirs": (annotate, False),
}


@pytest.mark.parametrize(("change", "healed"), DRIFT.values(), ids=DRIFT)
def test_drift(change: Any, healed: bool):  # noqa: FBT001  a column of the table
    got = changes(children(), edited(change), ours=OURS)

    assert [child_id(each) for each in got.apply] == ([DEPLOYMENT] if healed else [])


def test_a_write_names_the_state_it_was_decided_from():
    [healing] = changes(children(), edited(scale), ours=OURS).apply

    assert healing["metadata"]["uid"] == "uid-of-Deployment"
    assert healing["metadata"]["resourceVersion"] == "7"


def test_a_field_that_is_no_longer_wanted_is_taken_back():
    held = stored(*changes(children(llamaCpp={"env": [{"name": "A", "value": "1"}]}), {}, ours=OURS).apply)

    got = changes(children(), held, ours=OURS)

    assert [child_id(each) for each in got.apply] == [DEPLOYMENT]


def test_a_foreign_object_is_never_touched():
    held = applied()
    held[DEPLOYMENT]["metadata"]["ownerReferences"] = [{"uid": "other", "controller": True}]

    got = changes(children(), held, ours=OURS, absent=[DEPLOYMENT])

    assert (got.apply, got.delete, got.conflicts) == ((), (), (DEPLOYMENT,))


def test_only_what_is_there_and_ours_is_deleted():
    held = applied()
    budget = ("PodDisruptionBudget", "small-tier")

    got = changes((), held, ours=OURS, absent=[budget, ("Service", "other")])

    assert [child_id(each) for each in got.delete] == [budget]


CASCADE_OWNED = {
    "apiVersion": names.API_VERSION,
    "kind": "Cascade",
    "name": "gone",
    "uid": "uid-of-gone",
}
ROUTER = {"labels": {names.LABEL_MANAGED_BY: names.MANAGER}, "ownerReferences": [CASCADE_OWNED]}
OWNED_BY_CASCADES = {
    "of any Cascade: ours": (ROUTER, True),
    "of any Cascade, its labels taken: ours": ({**ROUTER, "labels": None}, True),
    "without an owner: not ours": ({**ROUTER, "ownerReferences": None}, False),
    "of another kind: not ours": (
        {**ROUTER, "ownerReferences": [{**CASCADE_OWNED, "kind": "ModelTier"}]},
        False,
    ),
}


@pytest.mark.parametrize(("meta", "want"), OWNED_BY_CASCADES.values(), ids=OWNED_BY_CASCADES)
def test_owned_by_any(meta: Any, want: bool):  # noqa: FBT001  a column of the table
    assert owned_by_any("Cascade")({"metadata": meta}) is want


CONTAINS = {
    "equal": ({"a": 1}, {"a": 1}, True),
    "more is fine": ({"a": 1, "b": 2}, {"a": 1}, True),
    "less is not": ({}, {"a": 1}, False),
    "an empty value was dropped": ({}, {"a": "", "b": [], "c": {}}, True),
    "zero where there is another number": ({"a": 1}, {"a": 0}, False),
    "a quantity is respelled": ({"requests": {"cpu": "1"}}, {"requests": {"cpu": "1000m"}}, True),
    "another amount": ({"limits": {"cpu": "2"}}, {"limits": {"cpu": "1000m"}}, False),
    "the same spelling elsewhere is text": ({"image": "1"}, {"image": "1000m"}, False),
    "a plain list in order": ({"args": ["a", "b"]}, {"args": ["b", "a"]}, False),
    "a named list in any order": (
        {"env": [{"name": "b"}, {"name": "a", "value": "1"}]},
        {"env": [{"name": "a", "value": "1"}]},
        True,
    ),
    "a named element is missing": ({"env": [{"name": "b"}]}, {"env": [{"name": "a"}]}, False),
    "conditions by type": (
        {"conditions": [{"type": "Theirs"}, {"type": "Ours", "status": "True"}]},
        {"conditions": [{"type": "Ours", "status": "True"}]},
        True,
    ),
    "unnamed objects in order": ({"t": [{"key": "a", "x": 1}]}, {"t": [{"key": "a"}]}, True),
    "an unnamed object too many": ({"t": [{"key": "a"}, {"key": "b"}]}, {"t": [{"key": "a"}]}, False),
}


@pytest.mark.parametrize(("have", "want", "verdict"), CONTAINS.values(), ids=CONTAINS)
def test_contains(have: Any, want: Any, verdict: bool):  # noqa: FBT001  a column of the table
    assert contains(have, want) is verdict


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        ("1", "1000m", True),
        ("1Gi", "1024Mi", True),
        (2, "2", True),
        ("1G", "1Gi", False),
        ("much", "1", False),
    ],
)
def test_same_quantity(one: Any, other: Any, same: bool):  # noqa: FBT001  a column of the table
    assert same_quantity(one, other) is same


@given(replicas=st.integers(0, 9), args=st.lists(st.text(max_size=3), max_size=3))
def test_applying_what_is_applied_is_empty(replicas: int, args: list[str]):
    spec = vllm_tier(vllm={"args": args})
    wanted = desired.tier(spec, SETTINGS, revision=None, replicas=replicas).wanted

    once = stored(*changes(wanted, {}, ours=controlled_by(spec.metadata.uid)).apply)

    assert all(converged(manifest, once[child_id(manifest)]) for manifest in wanted)
