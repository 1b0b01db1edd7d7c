"""A Cascade, its tiers and its router -> its status, for the part that the structure loop owns."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from modelfleet import names
from modelfleet.api import pins
from modelfleet.api.cascade import Cascade, CascadeTier, unpriced
from modelfleet.api.meta import Manifest
from modelfleet.api.model_tier import ModelTier
from modelfleet.diff import external
from modelfleet.diff.conditions import Finding, conditions, pinned
from modelfleet.diff.pods import Cause

TYPES = (
    "Accepted",
    "Authenticated",
    "Paused",
    "Pinned",
    "Programmed",
    "Ready",
    "Reconciling",
    "ResolvedRefs",
    "Stalled",
    "TiersReady",
)


@dataclass(frozen=True, slots=True)
class Observed:
    """What there is of a Cascade."""

    endpoint: str  # base URL of its router
    router: str  # name of its router
    tiers: Mapping[str, ModelTier] = field(
        default_factory=dict
    )  # by name of the ModelTier; missing ones are absent
    table_current: bool = False  # whether the stored route table is the wanted one
    router_ready: int = 0  # router pods that answer
    router_cause: Cause | None = None  # why router pods are missing
    name_taken_by: str | None = None  # the Cascade that has our modelName
    failure: Cause | None = None  # why the router's children could not be written as wanted
    keys_missing: frozenset[str] = frozenset()  # external ModelTiers whose API key the router does not find
    paused: bool = False
    api_keys: str | None = None  # the Secret whose keys clients need
    api_keys_usable: int | None = None  # how many of them let somebody in; None while no router has told


def status(cascade: Cascade, seen: Observed, *, now_s: float) -> Manifest:
    """The structure loop's part of the Cascade's status."""
    ready = [_tier_ready(cascade, step, seen) for step in cascade.spec.tiers]
    generation = cascade.metadata.generation
    findings = _findings(cascade, seen, ready=ready)
    return {
        "observedGeneration": generation,
        "endpoint": seen.endpoint,
        "ready": f"{sum(ready)}/{len(ready)}",
        "tiers": [
            {"name": step.name, "ready": is_ready}
            for step, is_ready in zip(cascade.spec.tiers, ready, strict=True)
        ],
        "conditions": conditions(findings, cascade.status.conditions, generation=generation, now_s=now_s),
    }


def tier_answers(tier: ModelTier) -> bool:
    """Whether requests can be sent to the tier now; a cold one keeps them until its first replica answers."""
    if tier.spec.suspend or not tier.found:
        return False
    if tier.cold:
        return True
    if tier.spec.external is not None:
        return not external.down(tier.status.conditions)
    return bool(tier.status.ready_replicas)


def _tier_ready(cascade: Cascade, step: CascadeTier, seen: Observed) -> bool:
    tier = seen.tiers.get(step.tier_ref.name)
    if tier is None or unpriced(cascade.spec, tier):
        return False
    return tier_answers(tier) and step.tier_ref.name not in seen.keys_missing


def _findings(cascade: Cascade, seen: Observed, *, ready: list[bool]) -> list[Finding]:
    accepted = _accepted(cascade, seen)
    resolved = _resolved(cascade, seen)
    programmed = _programmed(cascade, seen, accepted)
    tiers = _tiers_ready(cascade, ready=ready)
    verdict = _ready(accepted, programmed, tiers, any_ready=any(ready))
    findings = [accepted, _authenticated(seen), resolved, programmed, tiers, verdict]
    if stuck := _stuck(accepted, resolved, seen):
        findings.append(stuck)
    elif verdict.status != "True" and not seen.paused:
        findings.append(Finding("Reconciling", "True", verdict.reason, verdict.message))
    if seen.paused:
        text = f"Annotation {names.ANNOTATION_PAUSED} is set: router and route table are left as they are"
        findings.append(Finding("Paused", "True", "PausedByAnnotation", text))
    return findings + _pinned(cascade)


def _pinned(cascade: Cascade) -> list[Finding]:
    pin = pins.weights(cascade.metadata.annotations, tiers=[step.name for step in cascade.spec.tiers])
    found = pinned(names.ANNOTATION_PIN_WEIGHTS, holds=pin.weights is not None, problem=pin.problem)
    return [found] if found else []


def _accepted(cascade: Cascade, seen: Observed) -> Finding:
    if seen.name_taken_by is None:
        return Finding("Accepted", "True", "Accepted", f"Clients ask for model {cascade.spec.model_name}")
    text = f"Model name {cascade.spec.model_name} belongs to the older Cascade {seen.name_taken_by}"
    return Finding("Accepted", "False", "ModelNameConflict", text)


def _authenticated(seen: Observed) -> Finding:
    if seen.api_keys is None:
        text = "Whoever reaches the router may use it: the setting router.apiKeys names no Secret"
        return Finding("Authenticated", "False", "NoApiKeys", text)
    if seen.api_keys_usable == 0:
        text = f"Nobody comes in: there is no usable key in Secret {seen.api_keys} of this namespace"
        return Finding("Authenticated", "True", "NoUsableKeys", text)
    return Finding("Authenticated", "True", "ApiKeys", f"Clients need a key of Secret {seen.api_keys}")


def _resolved(cascade: Cascade, seen: Observed) -> Finding:
    missing = sorted(
        {step.tier_ref.name for step in cascade.spec.tiers if step.tier_ref.name not in seen.tiers}
    )
    if missing:
        text = f"ModelTiers that do not exist: {', '.join(missing)}"
        return Finding("ResolvedRefs", "False", "ModelTierNotFound", text)
    keyless = sorted({step.tier_ref.name for step in cascade.spec.tiers} & seen.keys_missing)
    if keyless:
        text = f"The API key is missing for ModelTiers: {', '.join(keyless)}"
        return Finding("ResolvedRefs", "False", "ExternalKeyMissing", text)
    used = {step.tier_ref.name for step in cascade.spec.tiers}
    priceless = sorted(name for name in used if unpriced(cascade.spec, seen.tiers[name]))
    if priceless:
        text = f"limits.maxCostPerRequest needs spec.price of external ModelTiers: {', '.join(priceless)}"
        return Finding("ResolvedRefs", "False", "PriceMissing", text)
    return Finding("ResolvedRefs", "True", "Resolved", "Every tier exists")


def _programmed(cascade: Cascade, seen: Observed, accepted: Finding) -> Finding:
    if accepted.status != "True":
        return Finding("Programmed", "False", accepted.reason, accepted.message)
    if seen.failure is not None:
        return Finding("Programmed", "False", seen.failure.reason, seen.failure.message)
    usable = [step for step in cascade.spec.tiers if _usable(cascade, step, seen)]
    if not usable:
        return Finding("Programmed", "False", "NoTiers", "None of the tiers exists, runs and may be asked")
    if not seen.table_current:
        return Finding("Programmed", "False", "RouteTablePending", "The route table is being written")
    if not seen.router_ready:
        why = seen.router_cause or Cause("RouterStarting", "No router pod is ready yet")
        return Finding("Programmed", "False", why.reason, why.message)
    return Finding("Programmed", "True", "Programmed", f"Router {seen.router} serves the Cascade")


def _usable(cascade: Cascade, step: CascadeTier, seen: Observed) -> bool:
    tier = seen.tiers.get(step.tier_ref.name)
    if tier is None or not tier.found:
        return False
    return not tier.spec.suspend and not unpriced(cascade.spec, tier)


def _tiers_ready(cascade: Cascade, *, ready: list[bool]) -> Finding:
    waiting = [step.name for step, is_ready in zip(cascade.spec.tiers, ready, strict=True) if not is_ready]
    if not waiting:
        return Finding("TiersReady", "True", "TiersReady", "Every tier can answer")
    reason = "NoTierReady" if len(waiting) == len(ready) else "SomeTiersNotReady"
    return Finding("TiersReady", "False", reason, f"Tiers that cannot answer: {', '.join(waiting)}")


def _ready(accepted: Finding, programmed: Finding, tiers: Finding, *, any_ready: bool) -> Finding:
    for needed in (accepted, programmed):
        if needed.status != "True":
            return Finding("Ready", "False", needed.reason, needed.message)
    if not any_ready:
        return Finding("Ready", "False", tiers.reason, tiers.message)
    return Finding("Ready", "True", "Serving", "At least one tier answers")


def _stuck(accepted: Finding, resolved: Finding, seen: Observed) -> Finding | None:
    for needed in (accepted, resolved):
        if needed.status != "True":
            return Finding("Stalled", "True", needed.reason, needed.message)
    why = seen.failure or seen.router_cause
    if why is not None and why.stuck:
        return Finding("Stalled", "True", why.reason, why.message)
    return None
