"""The user's own ModelTiers and Cascade as a fleet to simulate.

How fast an engine is comes from a profile: the command line's, `scaling.profile`, or the annotation
`modelfleet.dev/profile` where there is no scaling.  What is to be kept is the Cascade's `slo`, as far as the command
line does not say.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from pydantic import ValidationError

from modelfleet import names
from modelfleet.api.cascade import Cascade, CascadeTier, initial_weights
from modelfleet.api.fleet_settings import FleetSettings
from modelfleet.api.judging import OPEN_THRESHOLD
from modelfleet.api.meta import Manifest, seconds
from modelfleet.api.model_tier import ModelTier
from modelfleet.desired import tier as desired
from modelfleet.errors import FleetError
from modelfleet.plan.engine import Engine
from modelfleet.plan.prices import replica_hour_usd
from modelfleet.plan.profiles import PROFILES, profile
from modelfleet.sim import fleet, unsimulated
from modelfleet.sim.fleet import Hold, Question
from modelfleet.sim.questions import made_up
from modelfleet.sim.typos import typos

PROFILE_ANNOTATION = "modelfleet.dev/profile"
_API_PROFILE = (
    "70b-h100-tp4"  # an API answers as fast as this with nothing else to do, unless a profile is given
)
_KINDS = ("ModelTier", "Cascade")
_PERCENT = 100
_PERMILLE = 1000


class BadScenario(FleetError):
    """The files cannot be simulated; the message says what to write."""


@dataclass(frozen=True, slots=True)
class Told:
    """What the command line says; None and what is not named: nothing.

    `profiles`: ModelTier -> profile name; `prices`: ModelTier -> US dollars per replica and hour.
    """

    cascade: str | None = None
    profiles: Mapping[str, str] = field(default_factory=dict)
    prices: Mapping[str, float] = field(default_factory=dict)
    cold_start_s: float | None = None
    ttft_s: float | None = None
    itl_s: float | None = None
    settings: FleetSettings = field(default_factory=FleetSettings)


@dataclass(frozen=True, slots=True)
class Scenario:
    """`entry`: shares by tier; `documents`: the Cascade and its ModelTiers as the operator gets them.

    `unsimulated`: what the files ask for and nobody simulates, one line each; `controlled`: what only the operator
    heeds.
    """

    fleet: fleet.Cascade
    entry: tuple[float, ...]
    cascade: str
    documents: Sequence[Manifest]
    unsimulated: Sequence[str]
    controlled: Sequence[str]


Scores = Callable[[Sequence[str]], Sequence[Question]]  # by steps of the Cascade; empty: nobody gave any


def read(documents: Iterable[Any], told: Told = Told(), *, scores: Scores = lambda _steps: ()) -> Scenario:
    """The fleet of one Cascade.  Raises BadScenario when an object is missing, ambiguous or not valid."""
    objects = [document for document in documents if isinstance(document, dict)]
    _check_kinds(objects)
    tiers = {tier.metadata.name: tier for tier in _all(objects, "ModelTier", ModelTier)}
    cascades = _all(objects, "Cascade", Cascade)
    found = _pick(cascades, told.cascade)
    for step in found.spec.tiers:
        if step.tier_ref.name not in tiers:
            raise BadScenario(
                f"Cascade {found.metadata.name!r} names ModelTier {step.tier_ref.name!r}, which no file has"
            )
    for tier in tiers.values():
        _check_bounds(tier)
    named = {step.tier_ref.name: tiers[step.tier_ref.name] for step in found.spec.tiers}
    weights = initial_weights(found.spec)
    last = found.spec.tiers[-1]
    floor = last.target_share / _PERCENT if last.target_share is not None else weights[last.name] / _PERMILLE
    bars = [_bar(step) for step in found.spec.tiers]
    known = scores([step.name for step in found.spec.tiers])
    judged = any(bar is not None for bar in bars)
    simulated = fleet.Cascade(
        tiers=tuple(_step(step, named[step.tier_ref.name], told) for step in found.spec.tiers),
        slo=_slo(found, told),
        share_floor=floor if len(found.spec.tiers) > 1 else 0.0,
        thresholds=tuple(bars) if judged else (),
        judged_tokens=found.spec.stream.hold_back_tokens,
        deadline_s=seconds(found.spec.limits.deadline),
        questions=known or (made_up(len(bars)) if judged else ()),
        escalations_max=found.spec.limits.max_escalations,
        judges_only=found.spec.weights.mode == "Observe",
    )
    lines = unsimulated.of(found, named, others=[one.metadata.name for one in cascades if one is not found])
    if judged and not known:
        lines = [*lines, *unsimulated.scores(found)]
    kept = [found.metadata.name, *named]
    return Scenario(
        fleet=simulated,
        entry=tuple(weights[step.name] / _PERMILLE for step in found.spec.tiers),
        cascade=found.metadata.name,
        documents=[
            unsimulated.without(one, told.profiles)
            for one in objects
            if one.get("kind") in ("Cascade", "ModelTier") and one["metadata"]["name"] in kept
        ],
        unsimulated=lines,
        controlled=unsimulated.controlled(found, named),
    )


def _all(objects: Sequence[Mapping[str, Any]], kind: str, model: type[Any]) -> list[Any]:
    found = []
    for document in objects:
        if document.get("kind") != kind:
            continue
        name = (document.get("metadata") or {}).get("name", "?")
        for typo in typos(document, model):
            raise BadScenario(f"{kind} {name!r}: {typo}")
        try:
            found.append(model.model_validate(document))
        except ValidationError as err:
            first = err.errors()[0]
            where = ".".join(str(part) for part in first["loc"])
            raise BadScenario(f"{kind} {name!r}: {where}: {first['msg']}") from None
    return found


def _check_kinds(objects: Sequence[Mapping[str, Any]]) -> None:
    """Ours alone: files may hold Secrets and the like beside them."""
    for document in objects:
        kind = str(document.get("kind"))
        if kind in _KINDS:
            continue
        ours = str(document.get("apiVersion", "")).startswith(f"{names.GROUP}/")
        if ours or kind.lower() in {known.lower() for known in _KINDS}:
            raise BadScenario(f"there is no kind {kind!r}; there are: {', '.join(_KINDS)}")


def _check_bounds(tier: ModelTier) -> None:
    """What the API server would refuse, and a simulation would make nonsense of."""
    scaling, name = tier.spec.scaling, tier.metadata.name
    if scaling is None:
        return
    if scaling.min_replicas > scaling.max_replicas:
        raise BadScenario(f"ModelTier {name!r}: minReplicas must not be above maxReplicas")
    if scaling.min_replicas == 0 and scaling.idle is None:
        raise BadScenario(
            f"ModelTier {name!r}: minReplicas 0 needs idle: add idle: {{}} or set minReplicas to 1"
        )


def _pick(found: Sequence[Cascade], name: str | None) -> Cascade:
    there = sorted(one.metadata.name for one in found)
    if name is None and len(found) == 1:
        return found[0]
    for one in found:
        if one.metadata.name == name:
            return one
    if not there:
        raise BadScenario("no file has a Cascade")
    wanted = "give --cascade with one of" if name is None else f"there is no Cascade {name!r}; there are"
    raise BadScenario(f"{wanted}: {', '.join(there)}")


def _slo(cascade: Cascade, told: Told) -> fleet.Slo:
    """The objectives: as told, else the Cascade's, else those of the benchmarks."""
    said, usual = cascade.spec.slo, fleet.Slo()
    ttft_s = seconds(said.ttft_p95) if said is not None and said.ttft_p95 else usual.ttft_s
    itl_s = seconds(said.itl_p95) if said is not None and said.itl_p95 else usual.itl_s
    return fleet.Slo(
        ttft_s if told.ttft_s is None else told.ttft_s, itl_s if told.itl_s is None else told.itl_s
    )


def _bar(step: CascadeTier) -> float | None:
    if step.accept is None:
        return None
    return float(step.accept.threshold) if step.accept.threshold is not None else OPEN_THRESHOLD


def _profile(tier: ModelTier, told: Told) -> str | None:
    scaling = tier.spec.scaling
    said = told.profiles.get(tier.metadata.name) or (scaling.profile if scaling is not None else None)
    said = said or tier.metadata.annotations.get(PROFILE_ANNOTATION)
    return _API_PROFILE if said is None and tier.spec.external is not None else said


def _engine(tier: ModelTier, told: Told) -> Engine:
    name = _profile(tier, told)
    found = profile(name, told.settings) if name is not None else None
    if found is not None:
        slots = tier.slots or found.sequences_max
        return replace(found, sequences_max=min(found.sequences_max, slots))
    known = ", ".join(sorted({*PROFILES, *told.settings.profiles}))
    said = f"there is no profile {name!r}" if name else "no profile says how fast it is"
    raise BadScenario(
        f"ModelTier {tier.metadata.name!r}: {said}; give --profile {tier.metadata.name}=NAME or scaling.profile, "
        f"with one of: {known}"
    )


def _step(step: CascadeTier, tier: ModelTier, told: Told) -> fleet.Tier:
    spec, scaling, engine = tier.spec, tier.spec.scaling, _engine(tier, told)
    low, high = (step.weight.min, step.weight.max) if step.weight else (0, _PERCENT)
    idle = scaling.idle if scaling else None
    start = 0 if spec.external else desired.replicas(tier, None)
    tokens = spec.price
    return fleet.Tier(
        name=step.name,
        engine=engine,
        gpus=spec.node_pool.count if spec.node_pool else 1,
        usd_per_replica_hour=_usd(tier, told),
        usd_per_million_tokens=(
            float(tokens.input_per_million_tokens or 0) if tokens and spec.external else 0.0,
            float(tokens.output_per_million_tokens or 0) if tokens and spec.external else 0.0,
        ),
        cold=fleet.ColdStart(0.0, 0.0, _cold_start_s(tier, told)),
        replicas_start=start,
        # Who wakes a tier that runs nothing is the operator: all others keep one.
        replicas_min=max(1, scaling.min_replicas) if scaling else start,
        replicas_max=scaling.max_replicas if scaling else start,
        external=spec.external is not None,
        entries_min=low / _PERCENT,
        entries_max=high / _PERCENT,
        hold=None if idle is None else Hold(idle.max_held, seconds(idle.hold_timeout)),
    )


def _usd(tier: ModelTier, told: Told) -> float:
    """Of a replica and hour: as told, else as the operator counts; 0 where nobody says."""
    given = told.prices.get(tier.metadata.name)
    return (replica_hour_usd(tier, told.settings) or 0.0) if given is None else given


def _cold_start_s(tier: ModelTier, told: Told) -> float:
    """As told, else the profile's of the settings, else the settings'."""
    if told.cold_start_s is not None:
        return told.cold_start_s
    named = told.settings.profiles.get(_profile(tier, told) or "")
    return seconds(
        named.cold_start if named is not None and named.cold_start else told.settings.capacity.cold_start
    )
