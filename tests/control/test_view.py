from typing import Any

import pytest

from modelfleet import names
from modelfleet.api.key import Key
from modelfleet.control.view import MemoryView, key_of, trimmed
from tests.make import NAMESPACE, pod_object, tier_object

KEY = Key("ModelTier", NAMESPACE, "small")


def at(version: int, name: str = "small") -> dict[str, Any]:
    item = tier_object(name)
    item["metadata"]["resourceVersion"] = str(version)
    return item


def version(view: MemoryView) -> str | None:
    item = view.get(KEY)
    return item["metadata"]["resourceVersion"] if item else None


@pytest.fixture
def view() -> MemoryView:
    made = MemoryView()
    made.watched(at(10))
    return made


def test_the_newest_version_wins(view: MemoryView):
    assert not view.watched(at(9))
    assert version(view) == "10"
    assert view.watched(at(11))
    assert version(view) == "11"


def test_our_own_write_is_no_news_when_the_watch_brings_it(view: MemoryView):
    view.written(at(12), now_s=0.0)

    assert not view.watched(at(12))


def test_a_deletion_is_news_unless_it_is_older_than_what_we_know(view: MemoryView):
    assert not view.watched(at(9), deleted=True)
    assert view.watched(at(11), deleted=True)
    assert view.get(KEY) is None


def test_a_list_drops_what_it_lacks_but_not_what_is_newer(view: MemoryView):
    view.watched(at(30, "young"))

    changed = view.listed("ModelTier", [], at_version=20, now_s=0.0)

    assert changed == [KEY]
    assert [item["metadata"]["name"] for item in view.list("ModelTier")] == ["young"]


def test_a_list_of_one_namespace_says_nothing_of_others(view: MemoryView):
    assert view.listed("ModelTier", [], at_version=20, now_s=0.0, namespace="other") == []
    assert version(view) == "10"


def test_what_the_watch_owes_is_counted_until_it_comes(view: MemoryView):
    view.written(at(12), now_s=100.0)
    view.listed("ModelTier", [at(13)], at_version=13, now_s=105.0)

    assert view.overdue_s(130.0) == 30.0
    assert view.overdue(since_s=100.0) == [KEY]
    assert view.overdue(since_s=99.0) == []

    view.watched(at(13))
    assert view.overdue_s(130.0) == 0.0


def test_a_deleted_object_is_owed_no_more(view: MemoryView):
    view.written(at(12), now_s=100.0)
    view.watched(at(14), deleted=True)

    assert view.overdue(since_s=1000.0) == []


def test_what_came_and_went_unseen_is_forgotten(view: MemoryView):
    view.written(at(12), now_s=100.0)

    view.forget(KEY)

    assert view.get(KEY) is None
    assert view.overdue_s(1000.0) == 0.0


def test_lists_are_filtered_and_sorted(view: MemoryView):
    view.watched(at(11, "another"))
    view.watched(pod_object())

    assert [item["metadata"]["name"] for item in view.list("ModelTier", namespace=NAMESPACE)] == [
        "another",
        "small",
    ]
    assert view.list("ModelTier", namespace="other") == []
    assert view.list("Pod", labels={"modelfleet.dev/tier": "small-tier"})
    assert not view.list("Pod", labels={"modelfleet.dev/tier": "other"})
    assert view.count("ModelTier") == 2


def test_an_object_is_found_by_the_labels_it_has_now(view: MemoryView):
    pod = pod_object()
    view.watched(pod)
    moved = {
        **pod,
        "metadata": {**pod["metadata"], "resourceVersion": "9", "labels": {"modelfleet.dev/tier": "other"}},
    }

    view.watched(moved)
    assert not view.list("Pod", labels={"modelfleet.dev/tier": "small-tier"})
    assert len(view.list("Pod", labels={"modelfleet.dev/tier": "other"})) == 1

    view.watched({**moved, "metadata": {**moved["metadata"], "resourceVersion": "10"}}, deleted=True)
    assert not view.list("Pod", labels={"modelfleet.dev/tier": "other"})


def test_a_childs_name_leads_to_its_tier():
    view = MemoryView()
    view.watched(at(10, "7b.big"))

    [item] = view.list("ModelTier")
    assert view.tier_of(NAMESPACE, "m-7b-big-7f95b270-tier") == key_of(item).name
    assert view.tier_of("other", "m-7b-big-7f95b270-tier") is None


def test_what_nobody_reads_is_not_kept():
    item = tier_object(annotations={"kubectl.kubernetes.io/last-applied-configuration": "{}", "mine": "1"})
    item["metadata"]["managedFields"] = [{}]

    kept = trimmed(item)

    assert kept["metadata"]["annotations"] == {"mine": "1"}
    assert "managedFields" not in kept["metadata"]
    assert "spec" not in trimmed({**pod_object(), "spec": {}})


def test_pods_of_others_are_the_tiers_until_they_are_not(view: MemoryView):
    labels = {names.LABEL_TIER: "small-tier"}
    pod = {"metadata": {"name": "qwen-1", "namespace": NAMESPACE, "labels": {"app": "qwen"}}, "status": {}}
    other = {**pod, "metadata": {**pod["metadata"], "name": "qwen-2"}}

    view.adopt(NAMESPACE, "small-tier", [pod, other])
    view.adopt(NAMESPACE, "large-tier", [pod])
    # The lists bring pods that carry our labels, and those of others never do.
    view.listed("Pod", [], at_version=99, now_s=0.0)
    view.adopt(NAMESPACE, "small-tier", [other])

    (found,) = view.list("Pod", namespace=NAMESPACE, labels=labels)
    assert found["metadata"]["name"] == "qwen-2"
    assert found["metadata"]["labels"] == {"app": "qwen", **labels}
    assert len(view.list("Pod")) == 2
    view.adopt(NAMESPACE, "small-tier", ())
    view.adopt(NAMESPACE, "large-tier", ())
    assert view.list("Pod") == []
    assert view.list("Pod", labels=labels) == []
