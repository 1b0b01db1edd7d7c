"""Deployment and pods -> the one cause that a person should look at, in words that stay while the cause stays."""

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from modelfleet.api.meta import Manifest

LINE_CHARS_MAX = 300


@dataclass(frozen=True, slots=True)
class Cause:
    """Why replicas are missing.  `stuck`: somebody has to act; `missing_ref`: because something named does not exist."""

    reason: str
    message: str
    stuck: bool = False
    missing_ref: bool = False


def cause(deployment: Manifest, pods: Sequence[Manifest], *, pool: str | None) -> Cause | None:
    """The gravest reason why replicas of the Deployment are not ready; None when nothing is known yet."""
    if refused := _refused(deployment):
        return refused
    found = [
        why
        for pod in pods
        if "deletionTimestamp" not in pod["metadata"] and not pod_ready(pod)
        for why in [_pod_cause(pod, pool=pool)]
        if why is not None
    ]
    # Pods come and go in any order: the choice between several causes must not depend on it.
    found.sort(key=lambda why: (not why.missing_ref, not why.stuck, why.reason, why.message))
    if found and found[0].stuck:
        return found[0]
    return _deadline(deployment, found) or (found[0] if found else None)


def pod_ready(pod: Manifest) -> bool:
    """Whether the pod's Ready condition holds."""
    conditions = pod.get("status", {}).get("conditions") or ()
    return any(each["type"] == "Ready" and each["status"] == "True" for each in conditions)


def _refused(deployment: Manifest) -> Cause | None:
    failure = _condition(deployment, "ReplicaFailure")
    if failure is None or failure["status"] != "True":
        return None
    # The name of the pod that was refused is another one each time.
    message = re.sub(r'^pods "[^"]*" is forbidden: ', "", failure.get("message", ""))
    if "exceeded quota" in message:
        # What is used now ticks with every pod of the namespace.
        return Cause("QuotaExceeded", re.sub(r", used: .*", "", message), stuck=True)
    if "PodSecurity" in message:
        return Cause("PodSecurityViolation", message, stuck=True)
    return Cause(failure.get("reason", "FailedCreate"), message, stuck=True)


def _deadline(deployment: Manifest, found: Sequence[Cause]) -> Cause | None:
    progressing = _condition(deployment, "Progressing")
    if progressing is None or progressing.get("reason") != "ProgressDeadlineExceeded":
        return None
    detail = f": {found[0].message}" if found else ""
    return Cause("ProgressDeadlineExceeded", f"Pods did not become ready in time{detail}", stuck=True)


def _condition(item: Manifest, kind: str) -> Manifest | None:
    conditions = item.get("status", {}).get("conditions") or ()
    return next((each for each in conditions if each["type"] == kind), None)


def _pod_cause(pod: Manifest, *, pool: str | None) -> Cause | None:
    status = pod.get("status", {})
    scheduled = _condition(pod, "PodScheduled")
    if scheduled is not None and scheduled["status"] == "False":
        return _unscheduled(scheduled.get("message", ""), pool=pool)
    if status.get("reason") == "Evicted":
        return Cause("Evicted", _line(status.get("message", "The node ran out of resources")))
    for container in [*(status.get("initContainerStatuses") or ()), *(status.get("containerStatuses") or ())]:
        if why := _container_cause(container):
            return why
    return None


def _unscheduled(message: str, *, pool: str | None) -> Cause:
    if missing := re.search(r'persistentvolumeclaim "([^"]+)" not found', message):
        text = f"PersistentVolumeClaim {missing[1]} does not exist"
        return Cause("PersistentVolumeClaimNotFound", text, stuck=True, missing_ref=True)
    # "0/3 nodes are available: 2 Insufficient cpu, 1 node(s) ... . preemption: ...": counts change with any node.
    reasons = message.partition("nodes are available: ")[2].partition(" preemption:")[0] or message
    shown = ", ".join(sorted({re.sub(r"^\d+ ", "", part.strip(" .")) for part in reasons.split(", ")}))
    where = f"No node of pool {pool} fits" if pool else "No node fits"
    return Cause("Unschedulable", _line(f"{where}: {shown}"))


def _container_cause(container: Manifest) -> Cause | None:
    name = container["name"]
    state: dict[str, Any] = container.get("state") or {}
    waiting = state.get("waiting")
    if waiting and (translate := _WAITING.get(waiting.get("reason", ""))):
        return translate(name, waiting.get("message", ""))
    ended = state.get("terminated") or (container.get("lastState") or {}).get("terminated")
    if ended and not container.get("ready") and ended.get("exitCode") != 0:
        return _crashed(name, ended)
    if state.get("terminated") or container.get("ready"):
        return None
    if "running" in state:
        return _RUNNING.get(name)
    return Cause("ContainerCreating", "Pods are being created")


def _crashed(name: str, ended: Manifest) -> Cause:
    if ended.get("reason") == "OOMKilled":
        return Cause("OOMKilled", f"Container {name} needs more memory than its limit", stuck=True)
    last = _last_line(ended.get("message", ""))
    text = f"Container {name} exits with code {ended.get('exitCode')}" + (f": {last}" if last else "")
    return Cause("DownloadFailed" if name == "download" else "CrashLoopBackOff", text, stuck=True)


def _last_line(log: str) -> str:
    lines = [line.strip() for line in log.splitlines() if line.strip()]
    # A time at the start would make the same crash look new each time.
    return _line(re.sub(r"^[\d\s.,:/TZ\[\]()+-]+(?=[A-Za-z])", "", lines[-1])) if lines else ""


def _line(text: str) -> str:
    return text if len(text) <= LINE_CHARS_MAX else f"{text[:LINE_CHARS_MAX]}..."


def _image(name: str, message: str) -> Cause:
    image = re.search(r'image "([^"]+)"', message)
    what = f"image {image[1]}" if image else "the image"
    return Cause("ImagePullBackOff", f"Container {name} cannot pull {what}", stuck=True)


def _invalid_image(name: str, message: str) -> Cause:
    return Cause("InvalidImageName", f"Container {name}: {_line(message)}", stuck=True)


def _config(name: str, message: str) -> Cause:
    if missing := re.search(r'(secret|configmap) "([^"]+)" not found', message):
        kind = {"secret": "Secret", "configmap": "ConfigMap"}[missing[1]]
        text = f"{kind} {missing[2]} does not exist"
        return Cause(f"{kind}NotFound", text, stuck=True, missing_ref=True)
    if key := re.search(r"couldn't find key (\S+) in Secret \S*?/?([^/\s]+)$", message):
        text = f"Secret {key[2]} has no key {key[1]}"
        return Cause("SecretNotFound", text, stuck=True, missing_ref=True)
    return Cause("CreateContainerConfigError", f"Container {name}: {_line(message)}", stuck=True)


def _create(name: str, message: str) -> Cause:
    return Cause("CreateContainerError", f"Container {name}: {_line(message)}", stuck=True)


# Both words of a pair alternate while one problem lasts.
_WAITING: dict[str, Callable[[str, str], Cause]] = {
    "ErrImagePull": _image,
    "ImagePullBackOff": _image,
    "ErrImageNeverPull": _image,
    "InvalidImageName": _invalid_image,
    "CreateContainerConfigError": _config,
    "CreateContainerError": _create,
    "RunContainerError": _create,
}
_RUNNING = {
    "download": Cause("ModelDownloading", "The model is being downloaded"),
    "engine": Cause("ModelLoading", "The model is being loaded"),
    "router": Cause("RouterStarting", "The router is starting"),
}
