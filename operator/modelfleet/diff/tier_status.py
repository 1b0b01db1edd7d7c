"""A ModelTier and what was observed of it -> its status, for the part that the structure loop owns."""

from collections.abc import Sequence
from dataclasses import dataclass

from modelfleet import names
from modelfleet.api import pins
from modelfleet.api.meta import Manifest
from modelfleet.api.model_tier import ModelTier
from modelfleet.diff import external
from modelfleet.diff import pods as pod_causes
from modelfleet.diff.conditions import Finding, conditions, pinned
from modelfleet.diff.pods import Cause

TYPES = ("Paused", "Pinned", "Ready", "Reconciling", "ResolvedRefs", "Stalled", "WorkloadAvailable")
ROLLING_OUT = "RollingOut"


@dataclass(frozen=True, slots=True)
class Observed:
    """What there is of a tier.  `failure`: why its children could not be written as wanted."""

    endpoint: str  # base URL of the tier
    selector: str = ""  # label selector of its pods
    source: str | None = None  # the hf:// source that was resolved; None for other sources
    revision: str | None = None  # what it was resolved to
    pinned: bool = True  # whether that is a commit
    deployment: Manifest | None = None
    pods: Sequence[Manifest] = ()
    wanted_replicas: int = 0
    failure: Cause | None = None
    paused: bool = False
    outage: str | None = ""  # why no router can ask an external tier, in their word; None: nobody has told


def status(tier: ModelTier, seen: Observed, *, now_s: float) -> Manifest:
    """The structure loop's part of the tier's status."""
    running = (seen.deployment or {}).get("status", {})
    ready = int(running.get("readyReplicas", 0))
    findings = _findings(tier, seen, ready=ready)
    generation = tier.metadata.generation
    wanted: Manifest = {
        "observedGeneration": generation,
        "engine": tier.engine,
        "endpoint": seen.endpoint,
        "conditions": conditions(findings, tier.status.conditions, generation=generation, now_s=now_s),
    }
    if tier.spec.external is not None:
        return wanted | {"replicas": 0, "readyReplicas": 0}
    wanted |= {
        "replicas": int(running.get("replicas", 0)),
        "readyReplicas": ready,
        "ready": f"{ready}/{seen.wanted_replicas}",
        "selector": seen.selector,
    }
    if seen.source and seen.revision:
        wanted["model"] = {"source": seen.source, "revision": seen.revision}
    return wanted


def _findings(tier: ModelTier, seen: Observed, *, ready: int) -> list[Finding]:
    why = seen.failure
    if why is None and seen.deployment is not None and not (tier.spec.suspend or _asleep(tier, seen)):
        pool = tier.spec.node_pool.name if tier.spec.node_pool else None
        why = None if settled(seen.deployment) else pod_causes.cause(seen.deployment, seen.pods, pool=pool)
    findings = [_resolved(seen, why), _available(tier, seen, ready=ready, why=why)]
    verdict = _ready(tier, seen, ready=ready, why=why)
    findings.append(verdict)
    if why is not None and why.stuck:
        findings.append(Finding("Stalled", "True", why.reason, why.message))
    elif (
        not seen.paused
        and verdict.reason != "Suspended"
        and (verdict.status != "True" or verdict.reason == ROLLING_OUT)
    ):
        findings.append(Finding("Reconciling", "True", verdict.reason, verdict.message))
    if seen.paused:
        text = f"Annotation {names.ANNOTATION_PAUSED} is set: children are left as they are"
        findings.append(Finding("Paused", "True", "PausedByAnnotation", text))
    return findings + pin(tier)


def pin(tier: ModelTier) -> list[Finding]:
    """What is said of the annotation that pins replicas."""
    given = pins.replicas(tier.metadata.annotations)
    problem = given.problem
    if given.replicas is not None and tier.spec.external is not None:
        problem = (
            f"An external API has no replicas of ours: remove annotation {names.ANNOTATION_PIN_REPLICAS}"
        )
    elif given.replicas is not None and tier.spec.existing and tier.spec.existing.scale_target_ref is None:
        problem = f"Nobody said what to scale: give existing.scaleTargetRef, or remove annotation {names.ANNOTATION_PIN_REPLICAS}"
    found = pinned(names.ANNOTATION_PIN_REPLICAS, holds=given.replicas is not None, problem=problem)
    return [found] if found else []


def settled(deployment: Manifest) -> bool:
    """Whether the Deployment runs exactly what its spec says, all of it ready."""
    status = deployment.get("status", {})
    wanted = deployment["spec"].get("replicas", 1)
    counts = [status.get(field, 0) for field in ("replicas", "updatedReplicas", "readyReplicas")]
    current = status.get("observedGeneration", 0) >= deployment["metadata"].get("generation", 0)
    return bool(current and counts == [wanted] * len(counts))


def _resolved(seen: Observed, why: Cause | None) -> Finding:
    if why is not None and why.missing_ref:
        return Finding("ResolvedRefs", "False", why.reason, why.message)
    if seen.source and seen.revision:
        if not seen.pinned:
            text = f"The hub did not say which commit {seen.revision} is; it is used as it is"
            return Finding("ResolvedRefs", "True", "RevisionNotResolved", text)
        return Finding("ResolvedRefs", "True", "Resolved", f"The model is pinned at commit {seen.revision}")
    return Finding("ResolvedRefs", "True", "Resolved", "Everything the tier refers to was found")


def _asleep(tier: ModelTier, seen: Observed) -> bool:
    """Whether nothing runs because there were no requests."""
    scaling = tier.spec.scaling
    return scaling is not None and scaling.idle is not None and seen.wanted_replicas == 0


def _available(tier: ModelTier, seen: Observed, *, ready: int, why: Cause | None) -> Finding:
    if tier.spec.suspend:
        return Finding("WorkloadAvailable", "False", "Suspended", "spec.suspend is true: nothing runs")
    if tier.spec.external is not None:
        return Finding("WorkloadAvailable", "True", "External", "The API runs elsewhere")
    if _asleep(tier, seen):
        return Finding("WorkloadAvailable", "False", "ScaledToZero", "The next request starts a replica")
    if ready:
        return Finding("WorkloadAvailable", "True", "ReplicaReady", "At least one replica answers")
    reason, message = (why.reason, why.message) if why else ("NoReplicaReady", "No replica is ready yet")
    return Finding("WorkloadAvailable", "False", reason, message)


def _ready(tier: ModelTier, seen: Observed, *, ready: int, why: Cause | None) -> Finding:
    if why is not None and why.stuck:
        return Finding("Ready", "False", why.reason, why.message)
    if tier.spec.suspend:
        return Finding("Ready", "False", "Suspended", "spec.suspend is true: nothing runs")
    if tier.spec.external is not None:
        return external.ready(tier.spec.external, seen.outage, before=tier.status.conditions)
    if _asleep(tier, seen) and seen.deployment is not None:
        text = "Nothing runs because there were no requests; the next one starts a replica"
        return Finding("Ready", "True", "ScaledToZero", text)
    return _replicas_ready(seen, ready=ready, why=why)


def _replicas_ready(seen: Observed, *, ready: int, why: Cause | None) -> Finding:
    if seen.deployment is None:
        return Finding("Ready", "False", "Creating", "The Deployment is being created")
    if seen.wanted_replicas == 0:
        return Finding("Ready", "True", "NoReplicasWanted", "spec.replicas is 0: nothing runs")
    if seen.deployment["spec"].get("replicas") == seen.wanted_replicas and settled(seen.deployment):
        return Finding("Ready", "True", "ReplicasReady", "All replicas are ready")
    missing = max(0, seen.wanted_replicas - ready)
    if missing == 0:
        return Finding("Ready", "True", ROLLING_OUT, "Enough replicas are ready while others are replaced")
    reason, detail = (why.reason, f": {why.message}") if why else ("ReplicasStarting", "")
    return Finding(
        "Ready", "False", reason, f"{missing} of {seen.wanted_replicas} replicas are not ready{detail}"
    )
