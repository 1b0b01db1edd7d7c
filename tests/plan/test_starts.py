"""How long a pod took, by what it waited for."""

import copy
from typing import Any

import pytest

from modelfleet.api.meta import Manifest
from modelfleet.plan.learned import Start
from modelfleet.plan.starts import start

POD: Manifest = {
    "kind": "Pod",
    "metadata": {"name": "p", "uid": "u", "creationTimestamp": "2026-11-22T10:00:00Z"},
    "status": {
        "conditions": [
            {"type": "PodScheduled", "status": "True", "lastTransitionTime": "2026-11-22T10:00:05Z"},
            {"type": "Ready", "status": "True", "lastTransitionTime": "2026-11-22T10:02:00Z"},
        ],
        "initContainerStatuses": [
            {
                "state": {
                    "terminated": {
                        "startedAt": "2026-11-22T10:00:10Z",
                        "finishedAt": "2026-11-22T10:00:40Z",
                    }
                }
            }
        ],
        "containerStatuses": [
            {"restartCount": 0, "state": {"running": {"startedAt": "2026-11-22T10:01:00Z"}}}
        ],
    },
}


def changed(**status: Any) -> Manifest:
    pod = copy.deepcopy(POD)
    pod["status"] |= status
    return pod


CASES = {
    "all four": (POD, Start("u", 5.0, 25.0, 30.0, 60.0)),
    "nothing to download before": (changed(initContainerStatuses=[]), Start("u", 5.0, 55.0, 0.0, 60.0)),
    "not ready": (
        changed(conditions=[POD["status"]["conditions"][0], {"type": "Ready", "status": "False"}]),
        None,
    ),
    "it crashed on the way": (
        changed(containerStatuses=[{**POD["status"]["containerStatuses"][0], "restartCount": 1}]),
        None,
    ),
    "no word of its containers": (changed(containerStatuses=[]), None),
    "ready again after two days": (
        changed(
            conditions=[
                POD["status"]["conditions"][0],
                {"type": "Ready", "status": "True", "lastTransitionTime": "2026-11-24T10:00:00Z"},
            ]
        ),
        None,
    ),
}


@pytest.mark.parametrize(("pod", "want"), CASES.values(), ids=CASES)
def test_start(pod: Manifest, want: Start | None):
    assert start(pod) == want
