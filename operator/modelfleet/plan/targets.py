"""Whose metrics can be read: the pods of routers and engines, and which tier an engine serves."""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property

from modelfleet.plan.snapshot import Name


@dataclass(frozen=True, slots=True)
class Pod:
    """One pod that answers.  `port`: of its metrics."""

    namespace: str
    name: str
    address: str  # IP
    port: int
    tier: Name | None = None  # whose engine it is; None: a router


@dataclass(frozen=True)
class Targets:
    """All of them."""

    routers: tuple[Pod, ...] = ()
    engines: tuple[Pod, ...] = ()

    def tier_of(self, labels: Mapping[str, str]) -> Name | None:
        """Whose engine a series is from, by what a scrape of pods adds: its name, else the address it was read at."""
        named = self._by_name.get((labels.get("namespace", ""), labels.get("pod", "")))
        host = labels.get("instance", "").rpartition(":")[0].strip("[]")
        return named or self._by_address.get(host)

    @cached_property
    def _by_name(self) -> Mapping[tuple[str, str], Name | None]:
        return {(pod.namespace, pod.name): pod.tier for pod in self.engines}

    @cached_property
    def _by_address(self) -> Mapping[str, Name | None]:
        # Pods on the host's network share its address.
        shared = Counter(pod.address for pod in self.engines)
        return {pod.address: pod.tier for pod in self.engines if shared[pod.address] == 1}
