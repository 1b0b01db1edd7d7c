"""A workload that somebody else runs, as it was found -> where its requests go, and whether we may scale it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from modelfleet import names
from modelfleet.api.existing import ScaleTargetRef
from modelfleet.api.meta import Manifest
from modelfleet.api.model_tier import ModelTier
from modelfleet.api.model_tier_status import Unscalable
from modelfleet.diff.pods import Cause, pod_ready

PORTS_SHOWN = 10
_ENDED = ("Succeeded", "Failed")
# Why there is no Scale: the object, its kind, its subresource or the number in it is missing.
NoScale = Literal["", "NotFound", "KindNotFound", "NoSubresource", "NoNumber"]


@dataclass(frozen=True, slots=True)
class Found:
    """What there is of it.  `forbidden`: rights that we lacked when we looked, such as `get deployments.apps/scale`."""

    service: Manifest | None = None
    pods: Sequence[Manifest] = ()  # behind the Service
    scale: Manifest | None = None  # of the target, as autoscaling/v1 has it
    no_scale: NoScale = ""
    autoscalers: Sequence[Manifest] = ()  # all HorizontalPodAutoscalers of the namespace
    forbidden: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Judged:
    """What follows.  `stuck`: what its user has to mend; `unscalable`: why we leave its replicas alone."""

    port: int | None  # of the Service
    port_name: str | None  # in its EndpointSlices
    running: int | None  # replicas that the target is asked for; None where nobody can tell
    pods: Sequence[Manifest]  # those that have not ended
    stuck: Cause | None
    unscalable: Unscalable | None
    rival: Unscalable | None = None  # who else scales it: then nothing is written, but mode Observe goes on

    @property
    def ready(self) -> int:
        """Pods that answer."""
        return sum(pod_ready(pod) and "deletionTimestamp" not in pod["metadata"] for pod in self.pods)


def judge(
    tier: ModelTier,
    found: Found,
    *,
    others: Sequence[ModelTier] = (),
    ours: bool = False,
    contested: bool = False,
) -> Judged:
    """What may be done.

    `others`: the tiers of its namespace; `ours`: the target is a Deployment of the operator; `contested`: somebody
    sets back what we write.
    """
    existing = tier.spec.existing
    assert existing is not None
    port, service_cause = _port(tier, found)
    rights_cause = _rights(found)
    ref = existing.scale_target_ref
    target_cause = _target(ref, found, ours=ours) if ref is not None else None
    rival = _rival(tier, ref, found, others) if ref is not None else None
    if ref is not None and contested:
        rival = rival or _contested(ref)
    observing = tier.spec.scaling is not None and tier.spec.scaling.mode == "Observe"
    stuck = rights_cause or service_cause or target_cause
    # Whoever's requests do not get there has no say in how many there are.
    unscalable = _refusal(stuck) if ref is not None else None
    return Judged(
        port=port["port"] if port else None,
        port_name=str(port.get("name") or "") if port else None,
        running=running(found),
        pods=[_marked(pod, port) for pod in found.pods if _runs(pod)],
        stuck=stuck,
        unscalable=unscalable or (None if observing else rival),
        rival=rival,
    )


def running(found: Found) -> int | None:
    """Replicas that the target is asked for; None where nobody can tell."""
    return int(found.scale["spec"].get("replicas", 0)) if found.scale else None


def _runs(pod: Manifest) -> bool:
    return (pod.get("status") or {}).get("phase") not in _ENDED


def _marked(pod: Manifest, port: Mapping[str, Any] | None) -> Manifest:
    """The pod with the number of the port that its engine listens on, where its spec tells."""
    target = port.get("targetPort", port["port"]) if port else None
    containers = (pod.get("spec") or {}).get("containers") or ()
    numbers = [
        each["containerPort"]
        for container in containers
        for each in container.get("ports") or ()
        if each.get("name") == target
    ]
    number = target if isinstance(target, int) else next(iter(numbers), None)
    if number is None:
        return pod
    meta = pod["metadata"]
    told = {**(meta.get("annotations") or {}), names.ANNOTATION_ENGINE_PORT: str(number)}
    return {**pod, "metadata": {**meta, "annotations": told}}


def _port(tier: ModelTier, found: Found) -> tuple[Mapping[str, Any] | None, Cause | None]:
    """The port of the Service that is meant."""
    existing = tier.spec.existing
    assert existing is not None
    wanted = existing.service_ref
    if found.service is None:
        text = f"There is no Service {wanted.name} in this namespace: create it, or name another in existing.serviceRef"
        return None, _broken("ServiceNotFound", text)
    if (found.service["metadata"].get("labels") or {}).get(names.LABEL_MANAGED_BY) == names.MANAGER:
        return None, _broken(
            "ServiceIsOurs", f"Service {wanted.name} is the operator's own: name one of yours"
        )
    spec = found.service["spec"]
    if spec.get("type") == "ExternalName":
        text = (
            f"Service {wanted.name} is a name for something outside, without endpoints: use external.baseURL"
        )
        return None, _broken("ServiceHasNoEndpoints", text)
    ports = [port for port in spec.get("ports") or () if port.get("protocol", "TCP") == "TCP"]
    if wanted.port is None:
        chosen = ports
    else:
        by_name = [port for port in ports if port.get("name") == str(wanted.port)]
        chosen = by_name or [port for port in ports if str(port["port"]) == str(wanted.port)]
    if len(chosen) == 1:
        return chosen[0], None
    shown = ", ".join(_shown(port) for port in ports[:PORTS_SHOWN]) or "none"
    what = "several ports" if wanted.port is None else f"no port {wanted.port}"
    text = f"Service {wanted.name} has {what}: write one of these in existing.serviceRef.port: {shown}"
    return None, _broken("ServicePortNotFound", text)


def _shown(port: Mapping[str, Any]) -> str:
    return f"{port['port']} ({port['name']})" if port.get("name") else str(port["port"])


def _rights(found: Found) -> Cause | None:
    if not found.forbidden:
        return None
    text = (
        f"The operator may not {', '.join(sorted(found.forbidden))}: grant it in a ClusterRole with the label "
        f'{names.LABEL_AGGREGATE}: "true"'
    )
    return Cause("Forbidden", text, stuck=True)


def _target(ref: ScaleTargetRef, found: Found, *, ours: bool) -> Cause | None:
    what = f"{ref.kind} {ref.name}"
    if ours:
        return _broken("TargetIsOurs", f"{what} is the operator's own: name a workload of yours")
    if found.no_scale:
        reason, text = _NO_SCALE[found.no_scale]
        return _broken(reason, text.format(what=what, kind=ref.kind, version=ref.api_version))
    return None


_NO_SCALE: Mapping[NoScale, tuple[str, str]] = {
    "NotFound": (
        "TargetNotFound",
        "There is no {what} in this namespace: create it, or name another in existing.scaleTargetRef",
    ),
    "KindNotFound": (
        "TargetKindNotFound",
        "This cluster has no kind {kind} in {version}: mend existing.scaleTargetRef, or install what brings it",
    ),
    "NoSubresource": (
        "TargetNotScalable",
        "{kind} in {version} has no scale subresource: name the object that has one, such as the Deployment that it makes",
    ),
    "NoNumber": (
        "TargetHasNoReplicas",
        "{what} has no number of replicas yet: write one at the workload, from which scaling starts",
    ),
}


def _broken(reason: str, text: str) -> Cause:
    return Cause(reason, text, stuck=True, missing_ref=True)


def _refusal(cause: Cause | None) -> Unscalable | None:
    return None if cause is None else Unscalable(reason=cause.reason, message=cause.message)


def _rival(
    tier: ModelTier, ref: ScaleTargetRef, found: Found, others: Sequence[ModelTier]
) -> Unscalable | None:
    """Somebody else who scales the same target: two of them would fight."""
    hpas = sorted(each["metadata"]["name"] for each in found.autoscalers if _same(each, ref))
    what = f"{ref.kind} {ref.name}"
    if hpas:
        text = (
            f"HorizontalPodAutoscaler {hpas[0]} scales {what}, and is not fought: delete it (of KEDA, the ScaledObject) "
            "to have the operator scale, or remove scaling"
        )
        return Unscalable(reason="ScaledByHPA", message=text)
    rivals = [each for each in others if _scales(each, ref) and _age(each) < _age(tier)]
    if rivals:
        first = min(rivals, key=_age).metadata.name
        text = f"ModelTier {first}, which is older, scales {what}: remove scaling from one of them"
        return Unscalable(reason="ScaledByModelTier", message=text)
    return None


def _contested(ref: ScaleTargetRef) -> Unscalable:
    text = (
        f"Somebody sets the replicas of {ref.kind} {ref.name} back: name the object that decides about them in "
        "existing.scaleTargetRef, or take replicas out of what is applied; it is tried again after 10 minutes"
    )
    return Unscalable(reason="SetBack", message=text)


def _same(autoscaler: Manifest, ref: ScaleTargetRef) -> bool:
    target = (autoscaler.get("spec") or {}).get("scaleTargetRef") or {}
    same_group = str(target.get("apiVersion", "")).rpartition("/")[0] == ref.api_version.rpartition("/")[0]
    return same_group and (target.get("kind"), target.get("name")) == (ref.kind, ref.name)


def _scales(tier: ModelTier, ref: ScaleTargetRef) -> bool:
    theirs = tier.spec.existing.scale_target_ref if tier.spec.existing else None
    if theirs is None or tier.spec.scaling is None or tier.metadata.deletion_timestamp:
        return False
    group, group_of_ref = (each.api_version.rpartition("/")[0] for each in (theirs, ref))
    return (group, theirs.kind, theirs.name) == (group_of_ref, ref.kind, ref.name)


def _age(tier: ModelTier) -> tuple[str, str]:
    return tier.metadata.creation_timestamp or "", tier.metadata.name
