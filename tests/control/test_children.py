from typing import Any

import pytest

from modelfleet.control.children import converge, refusal
from modelfleet.diff.changes import controlled_by
from modelfleet.errors import ClusterError, Conflict
from tests.fakes import World
from tests.make import NAMESPACE

OURS = controlled_by("me")
OWNER = {
    "apiVersion": "modelfleet.dev/v1alpha1",
    "kind": "ModelTier",
    "name": "t",
    "uid": "me",
    "controller": True,
}


def child(kind: str, name: str = "a") -> dict[str, Any]:
    return {"kind": kind, "metadata": {"name": name, "namespace": NAMESPACE, "ownerReferences": [OWNER]}}


async def test_wanted_children_are_made_and_unwanted_ones_deleted():
    world = World()
    world.add(child("PodDisruptionBudget"))

    why = await converge(
        world.ctx, NAMESPACE, [child("Service")], ours=OURS, absent=[("PodDisruptionBudget", "a")]
    )

    assert why is None
    assert world.stored("Service", "a")
    assert world.stored("PodDisruptionBudget", "a") is None


async def test_a_foreign_object_that_no_watch_brings_is_found_before_the_first_write():
    world = World()
    world.cluster.put({"kind": "Service", "metadata": {"name": "a", "namespace": NAMESPACE}})

    why = await converge(world.ctx, NAMESPACE, [child("Service"), child("ServiceAccount")], ours=OURS)

    assert why is not None
    assert (why.reason, why.message) == ("NameConflict", "Not ours, and left alone: Service a")
    assert world.stored("ServiceAccount", "a"), "the others are made all the same"


async def test_our_own_child_that_lost_its_labels_is_taken_back():
    world = World()
    world.cluster.put(child("Service"))  # no watch brings it

    assert await converge(world.ctx, NAMESPACE, [child("Service")], ours=OURS) is None
    assert world.cluster.writes


REFUSALS: dict[str, tuple[ClusterError, str | None]] = {
    "a conflict": (Conflict("x", status=409), None),
    "no answer": (ClusterError("x"), None),
    "overloaded": (ClusterError("x", status=429), None),
    "broken": (ClusterError("x", status=500), None),
    "forbidden": (ClusterError("PATCH /a: no", status=403, reason="Forbidden"), "Forbidden"),
    "without a reason": (ClusterError("PATCH /a: no", status=422), "ApplyRefused"),
}


@pytest.mark.parametrize(("error", "want"), REFUSALS.values(), ids=REFUSALS)
def test_refusal(error: ClusterError, want: str | None):
    why = refusal(error)

    assert (why and why.reason) == want
