from modelfleet.api.meta import Manifest
from modelfleet.control.capacity.memory import Store
from modelfleet.control.ports import Key
from modelfleet.control.view import MemoryView
from modelfleet.plan.snapshot import Name

KEY = Key("ModelTier", "team", "small")


def tier(version: int, *, desired: int | None = None, uid: str = "u", **meta: str) -> Manifest:
    return {
        "kind": "ModelTier",
        "metadata": {
            "name": "small",
            "namespace": "team",
            "uid": uid,
            "resourceVersion": str(version),
            **meta,
        },
        "spec": {"model": {"uri": "pvc://c/m.gguf"}, "llamaCpp": {}},
        "status": {} if desired is None else {"desiredReplicas": desired},
    }


def store(view: MemoryView, refused: list[Key] | None = None) -> Store:
    return Store(view, on_invalid=lambda key, _: (refused if refused is not None else []).append(key))


def desired(objects: Store) -> int | None:
    return objects.tiers()[Name("team", "small")].status.desired_replicas


def test_a_write_counts_before_the_watch_brings_it():
    view = MemoryView()
    view.watched(tier(5))
    objects = store(view)
    before = desired(objects)
    objects.wrote(KEY, tier(6, desired=3))

    assert (before, desired(objects)) == (None, 3)


def test_what_others_wrote_later_wins():
    view = MemoryView()
    view.watched(tier(5))
    objects = store(view)
    objects.wrote(KEY, tier(6, desired=3))
    view.watched(tier(7, desired=4))

    assert desired(objects) == 4


def test_an_object_created_again_has_no_past():
    view = MemoryView()
    view.watched(tier(5))
    objects = store(view)
    objects.wrote(KEY, tier(9, desired=3))
    view.watched(tier(10), deleted=True)
    view.watched(tier(11, uid="other"))

    assert desired(objects) is None


def test_an_object_on_its_way_out_is_not_planned_for():
    view = MemoryView()
    view.watched(tier(5, deletionTimestamp="2026-01-01T00:00:00Z"))

    assert store(view).tiers() == {}


def test_a_broken_object_is_reported_once_per_version():
    view = MemoryView()
    view.watched(tier(5) | {"spec": {"scaling": {"maxReplicas": "many"}}})
    refused: list[Key] = []
    objects = store(view, refused)
    for _ in range(3):
        assert objects.tiers() == {}

    assert refused == [KEY]
