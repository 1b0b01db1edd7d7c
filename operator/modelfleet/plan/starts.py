"""A pod's own timestamps -> how long it took to answer, and what it waited for."""

from collections.abc import Sequence
from datetime import datetime
from typing import Any

from modelfleet.api.meta import Manifest
from modelfleet.plan.learned import Start

_START_S_MAX = (
    86_400.0  # beyond it nobody waited for the pod: its node was away, or it was not ready for a while
)


def start(pod: Manifest) -> Start | None:
    """The start of a pod that answers; None while it does not, or where it restarted since and nobody can tell."""
    status = pod.get("status") or {}
    when = {each["type"]: each for each in status.get("conditions") or ()}
    ready = when.get("Ready", {})
    created = _seconds(pod["metadata"].get("creationTimestamp"))
    scheduled = _seconds(when.get("PodScheduled", {}).get("lastTransitionTime"))
    answered = _seconds(ready.get("lastTransitionTime"))
    main: Sequence[Any] = status.get("containerStatuses") or ()
    if ready.get("status") != "True" or not main or any(each.get("restartCount") for each in main):
        return None
    began = _seconds((main[0].get("state") or {}).get("running", {}).get("startedAt"))
    if created is None or scheduled is None or answered is None or began is None:
        return None
    spans = [_ran(each) for each in status.get("initContainerStatuses") or ()]
    weights_s = sum(end - start for start, end in (span for span in spans if span is not None))
    found = Start(
        uid=pod["metadata"].get("uid", ""),
        scheduling_s=max(0.0, scheduled - created),
        image_s=max(0.0, began - scheduled - weights_s),
        weights_s=weights_s,
        engine_s=max(0.0, answered - began),
    )
    return found if 0 < found.total_s <= _START_S_MAX else None


def _ran(container: Any) -> tuple[float, float] | None:
    ended = (container.get("state") or {}).get("terminated") or {}
    start, end = _seconds(ended.get("startedAt")), _seconds(ended.get("finishedAt"))
    return None if start is None or end is None else (start, max(start, end))


def _seconds(timestamp: str | None) -> float | None:
    return datetime.fromisoformat(timestamp).timestamp() if timestamp else None
