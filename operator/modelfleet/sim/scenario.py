"""The user's own ModelTiers and Cascade as a fleet to simulate.

How fast an engine is comes from a profile: `scaling.profile`, the annotation `modelfleet.dev/profile` where there is no
scaling, or the command line.  What is to be kept is the Cascade's `slo`, as far as the command line does not say.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any

from pydantic import ValidationError

from modelfleet.api.cascade import Cascade, initial_weights
from modelfleet.api.meta import seconds
from modelfleet.api.model_tier import ModelTier
from modelfleet.errors import FleetError
from modelfleet.plan.engine import Engine
from modelfleet.plan.profiles import PROFILES
from modelfleet.sim import fleet

PROFILE_ANNOTATION = "modelfleet.dev/profile"


class BadScenario(FleetError):
    """The files cannot be simulated; the message says what to write."""


def read(
    documents: Iterable[Any],
    *,
    cascade: str | None = None,
    profiles: Mapping[str, str] | None = None,
    prices: Mapping[str, float] | None = None,
    cold_start_s: float | None = None,
    ttft_s: float | None = None,
    itl_s: float | None = None,
) -> tuple[fleet.Cascade, tuple[float, ...]]:
    """The fleet of one Cascade, and its entry shares.

    `profiles`: ModelTier -> profile name; `prices`: ModelTier -> US dollars per replica and hour.
    Raises BadScenario when an object is missing, ambiguous or not valid.
    """
    objects = [document for document in documents if isinstance(document, dict)]
    tiers = {tier.metadata.name: tier for tier in _all(objects, "ModelTier", ModelTier)}
    found = _pick(_all(objects, "Cascade", Cascade), cascade)
    steps = []
    for step in found.spec.tiers:
        tier = tiers.get(step.tier_ref.name)
        if tier is None:
            raise BadScenario(
                f"Cascade {found.metadata.name!r} names ModelTier {step.tier_ref.name!r}, which no file has"
            )
        name = (profiles or {}).get(tier.metadata.name) or _profile(tier)
        price = (prices or {}).get(tier.metadata.name, 0.0)
        made = _tier(step.name, tier, _engine(tier, name), price=price, cold_start_s=cold_start_s)
        low, high = (step.weight.min, step.weight.max) if step.weight else (0, 100)
        steps.append(replace(made, entries_min=low / 100, entries_max=high / 100))
    weights = initial_weights(found.spec)
    shares = tuple(weights[step.name] / 1000 for step in found.spec.tiers)
    last = found.spec.tiers[-1]
    floor = last.target_share / 100 if last.target_share is not None else shares[-1]
    chosen = [step.name for step in found.spec.tiers if step.accept and step.accept.threshold is None]
    if chosen:
        raise BadScenario(f"simulate needs accept.threshold of tiers {', '.join(chosen)}: it chooses none")
    thresholds = tuple(
        float(step.accept.threshold) if step.accept and step.accept.threshold else None
        for step in found.spec.tiers
    )
    simulated = fleet.Cascade(
        tiers=tuple(steps),
        slo=_slo(found, ttft_s=ttft_s, itl_s=itl_s),
        share_floor=floor if len(steps) > 1 else 0.0,
        thresholds=thresholds if any(threshold is not None for threshold in thresholds) else (),
        judged_tokens=found.spec.stream.hold_back_tokens,
    )
    return simulated, shares


def _all(objects: Sequence[Mapping[str, Any]], kind: str, model: type[Any]) -> list[Any]:
    found = []
    for document in objects:
        if document.get("kind") != kind:
            continue
        name = (document.get("metadata") or {}).get("name", "?")
        try:
            found.append(model.model_validate(document))
        except ValidationError as err:
            first = err.errors()[0]
            where = ".".join(str(part) for part in first["loc"])
            raise BadScenario(f"{kind} {name!r}: {where}: {first['msg']}") from None
    return found


def _pick(found: Sequence[Cascade], name: str | None) -> Cascade:
    names = sorted(one.metadata.name for one in found)
    if name is None and len(found) == 1:
        return found[0]
    for one in found:
        if one.metadata.name == name:
            return one
    if not names:
        raise BadScenario("no file has a Cascade")
    wanted = "give --cascade with one of" if name is None else f"there is no Cascade {name!r}; there are"
    raise BadScenario(f"{wanted}: {', '.join(names)}")


def _slo(cascade: Cascade, *, ttft_s: float | None, itl_s: float | None) -> fleet.Slo:
    """The objectives: as told, else the Cascade's, else those of the benchmarks."""
    told, usual = cascade.spec.slo, fleet.Slo()
    said_ttft = seconds(told.ttft_p95) if told is not None and told.ttft_p95 else usual.ttft_s
    said_itl = seconds(told.itl_p95) if told is not None and told.itl_p95 else usual.itl_s
    return fleet.Slo(said_ttft if ttft_s is None else ttft_s, said_itl if itl_s is None else itl_s)


def _profile(tier: ModelTier) -> str | None:
    scaling = tier.spec.scaling
    said = scaling.profile if scaling is not None else None
    return said or tier.metadata.annotations.get(PROFILE_ANNOTATION)


def _engine(tier: ModelTier, name: str | None) -> Engine:
    if name is not None and name in PROFILES:
        return PROFILES[name]
    known = ", ".join(sorted(PROFILES))
    said = f"there is no profile {name!r}" if name else "no profile says how fast it is"
    raise BadScenario(
        f"ModelTier {tier.metadata.name!r}: {said}; give --profile {tier.metadata.name}=NAME or scaling.profile, "
        f"with one of: {known}"
    )


def _tier(
    name: str, tier: ModelTier, engine: Engine, *, price: float, cold_start_s: float | None
) -> fleet.Tier:
    spec, scaling = tier.spec, tier.spec.scaling
    cold = fleet.ColdStart() if cold_start_s is None else fleet.ColdStart(0.0, 0.0, cold_start_s)
    return fleet.Tier(
        name=name,
        engine=engine,
        gpus=spec.node_pool.count if spec.node_pool else 1,
        usd_per_replica_hour=price,
        cold=cold,
        replicas_start=max(spec.replicas, scaling.min_replicas if scaling else 0),
        replicas_min=scaling.min_replicas if scaling else spec.replicas,
        replicas_max=scaling.max_replicas if scaling else spec.replicas,
        external=spec.external is not None,
    )
