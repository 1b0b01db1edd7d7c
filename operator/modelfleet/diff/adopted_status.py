"""A ModelTier over somebody else's workload, and what was found of it -> its status, the structure loop's part."""

from dataclasses import dataclass

from modelfleet import names
from modelfleet.api.meta import Manifest
from modelfleet.api.model_tier import ModelTier
from modelfleet.diff import pods as pod_causes
from modelfleet.diff import tier_status
from modelfleet.diff.adopted import Judged
from modelfleet.diff.conditions import Finding, conditions
from modelfleet.diff.pods import Cause


@dataclass(frozen=True, slots=True)
class Observed:
    """What there is.  `wanted`: replicas that the target is asked for; None where there is no target."""

    judged: Judged
    endpoint: str
    selector: str = ""
    replicas: int = 0  # that the target says it has
    wanted: int | None = None
    failure: Cause | None = None  # why it could not be scaled, or what else is wrong with the spec
    paused: bool = False


def status(tier: ModelTier, seen: Observed, *, now_s: float) -> Manifest:
    """The structure loop's part of the tier's status."""
    judged, generation = seen.judged, tier.metadata.generation
    existing: Manifest = {}
    if judged.port_name is not None:
        existing["portName"] = judged.port_name
    if judged.unscalable is not None:
        existing["unscalable"] = judged.unscalable.model_dump(by_alias=True)
    elif seen.wanted is not None and seen.failure is None:
        existing["replicas"] = seen.wanted
    return {
        "observedGeneration": generation,
        "engine": tier.engine,
        "endpoint": seen.endpoint,
        "replicas": seen.replicas,
        "readyReplicas": judged.ready,
        "ready": f"{judged.ready}/{_wanted(seen)}",
        "selector": seen.selector,
        "existing": existing,
        "conditions": conditions(
            _findings(tier, seen), tier.status.conditions, generation=generation, now_s=now_s
        ),
    }


def _wanted(seen: Observed) -> int:
    return len(seen.judged.pods) if seen.wanted is None else seen.wanted


def _findings(tier: ModelTier, seen: Observed) -> list[Finding]:
    stuck = seen.judged.stuck or seen.failure
    why = stuck
    if why is None and seen.judged.ready < _wanted(seen) and not tier.spec.suspend:
        why = pod_causes.cause({"status": {}}, seen.judged.pods, pool=None)
    verdict = _ready(tier, seen, why)
    findings = [_resolved(stuck), _available(tier, seen, why), verdict, *tier_status.pin(tier)]
    if why is not None and why.stuck:
        findings.append(Finding("Stalled", "True", why.reason, why.message))
    elif verdict.status != "True" and verdict.reason != "Suspended":
        findings.append(Finding("Reconciling", "True", verdict.reason, verdict.message))
    if seen.paused:
        text = f"Annotation {names.ANNOTATION_PAUSED} is set: the workload keeps its replicas"
        findings.append(Finding("Paused", "True", "PausedByAnnotation", text))
    return findings


def _resolved(why: Cause | None) -> Finding:
    if why is not None and why.missing_ref:
        return Finding("ResolvedRefs", "False", why.reason, why.message)
    return Finding("ResolvedRefs", "True", "Resolved", "Everything the tier refers to was found")


def _available(tier: ModelTier, seen: Observed, why: Cause | None) -> Finding:
    if tier.spec.suspend:
        return Finding("WorkloadAvailable", "False", *_SUSPENDED)
    if seen.judged.ready and seen.judged.port_name is not None:
        return Finding("WorkloadAvailable", "True", "ReplicaReady", "At least one replica answers")
    if _asleep(tier, seen):
        return Finding("WorkloadAvailable", "False", "ScaledToZero", "The next request starts a replica")
    reason, message = (why.reason, why.message) if why else ("NoReplicaReady", "No replica is ready yet")
    return Finding("WorkloadAvailable", "False", reason, message)


_SUSPENDED = ("Suspended", "spec.suspend is true: no requests are sent, and the workload is left as it is")


def _asleep(tier: ModelTier, seen: Observed) -> bool:
    scaling = tier.spec.scaling
    return scaling is not None and scaling.idle is not None and seen.wanted == 0


def _ready(tier: ModelTier, seen: Observed, why: Cause | None) -> Finding:
    if why is not None and why.stuck:
        return Finding("Ready", "False", why.reason, why.message)
    if tier.spec.suspend:
        return Finding("Ready", "False", *_SUSPENDED)
    if _asleep(tier, seen):
        text = "Nothing runs because there were no requests; the next one starts a replica"
        return Finding("Ready", "True", "ScaledToZero", text)
    if seen.wanted == 0:
        return Finding("Ready", "True", "NoReplicasWanted", "The workload is at 0 replicas: nothing runs")
    return _replicas_ready(_wanted(seen), seen.judged.ready, why)


def _replicas_ready(wanted: int, ready: int, why: Cause | None) -> Finding:
    if wanted == 0:
        return Finding("Ready", "False", "NoReplicaReady", "No pod is behind the Service")
    if ready >= wanted:
        return Finding("Ready", "True", "ReplicasReady", "All replicas are ready")
    reason, detail = (why.reason, f": {why.message}") if why else ("ReplicasStarting", "")
    return Finding("Ready", "False", reason, f"{wanted - ready} of {wanted} replicas are not ready{detail}")
