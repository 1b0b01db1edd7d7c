"""Who must have been quiet before a tier may go to sleep, and what routers said of it: observes, decides nothing.

Every ready router of a tier has to say for how long it had no request.  One that is silent, or does not know the
tier yet, may have one at this moment.  One that is not ready any more may still be at work: where it answers, its
word counts too.
"""

from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property

from modelfleet import names
from modelfleet.api.cascade import Cascade
from modelfleet.api.model_tier import ModelTier
from modelfleet.control.ports import View
from modelfleet.diff.pods import pod_ready
from modelfleet.plan.snapshot import Name, Quiet

Reported = Mapping[str, Mapping[str, Quiet]]  # by router's address and ModelTier


@dataclass(frozen=True, slots=True)
class Heard:
    """What routers said at `at_s`, and for which tiers they have called since."""

    reported: Reported = field(default_factory=dict)
    at_s: float = 0.0
    woken: frozenset[Name] = frozenset()


@dataclass(frozen=True, slots=True)
class _Router:
    address: str | None
    ready: bool


def routers_of(cascades: Mapping[Name, Cascade]) -> dict[Name, set[str]]:
    """The routers that send requests to each tier."""
    found: dict[Name, set[str]] = defaultdict(set)
    for name, cascade in cascades.items():
        if any(each.type == "Accepted" and each.status == "False" for each in cascade.status.conditions):
            continue  # In no route table: its router does not know these tiers.
        router = names.router(name.name if cascade.spec.router.dedicated else None)
        for step in cascade.spec.tiers:
            found[Name(name.namespace, step.tier_ref.name)].add(router)
    return found


class Listener:
    """The pods of all routers, and what they said.  Made once per pass; looks at pods only when a tier may sleep."""

    def __init__(self, view: View, cascades: Mapping[Name, Cascade], heard: Heard = Heard()) -> None:
        self.heard = heard
        self._view = view
        self._cascades = cascades

    def addresses(self, tiers: Mapping[Name, ModelTier]) -> list[str]:
        """Whom to ask."""
        asked = {name for name, tier in tiers.items() if tier.spec.scaling and tier.spec.scaling.idle}
        return sorted({pod.address for name in asked for pod in self._of(name) if pod.address})

    def quiet_s(self, tier: Name) -> float | None:
        """For how long no router had had a request when they said so; None: not every ready one knows."""
        pods = self._of(tier)
        said = [self._said(pod, tier) for pod in pods]
        silent = any(pod.ready and quiet is None for pod, quiet in zip(pods, said, strict=True))
        # The table of a paused Cascade cannot learn that requests have to wait.
        if silent or tier in self._frozen or not any(pod.ready for pod in pods):
            return None
        return min(quiet.for_s for quiet in said if quiet is not None)

    def wanted(self, tier: Name) -> bool:
        """Whether one of them holds requests for it, or has called."""
        said = (self._said(pod, tier) for pod in self._of(tier))
        return tier in self.heard.woken or any(quiet.held > 0 for quiet in said if quiet is not None)

    @cached_property
    def _routers(self) -> Mapping[Name, set[str]]:
        return routers_of(self._cascades)

    @cached_property
    def _frozen(self) -> set[Name]:
        """The tiers of paused Cascades."""
        return {
            Name(name.namespace, step.tier_ref.name)
            for name, cascade in self._cascades.items()
            if cascade.metadata.paused
            for step in cascade.spec.tiers
        }

    @cached_property
    def _pods(self) -> Mapping[tuple[str, str], list[_Router]]:
        """By namespace and router."""
        found: dict[tuple[str, str], list[_Router]] = defaultdict(list)
        for pod in self._view.list("Pod"):
            router = (pod["metadata"].get("labels") or {}).get(names.LABEL_ROUTER)
            if router is not None:
                ready = pod_ready(pod) and not pod["metadata"].get("deletionTimestamp")
                address = (pod.get("status") or {}).get("podIP")
                found[pod["metadata"].get("namespace", ""), router].append(_Router(address, ready))
        return found

    def _of(self, tier: Name) -> list[_Router]:
        routers = sorted(self._routers.get(tier, ()))
        return [pod for router in routers for pod in self._pods.get((tier.namespace, router), ())]

    def _said(self, pod: _Router, tier: Name) -> Quiet | None:
        return self.heard.reported.get(pod.address or "", {}).get(tier.name)
