"""Policies by the names that the command line and the benchmark use, each with its peer's shipped constants."""

from collections.abc import Callable, Mapping

from modelfleet.sim.policies.grid import FAMILIES
from modelfleet.sim.policies.ours import Joint, Lead
from modelfleet.sim.policies.simple import Static
from modelfleet.sim.policy import Policy

KNOWN: Mapping[str, Callable[[], Policy]] = {
    "joint": Joint,  # ours: all tiers of the cascade at once
    "lead": Lead,  # ours, one tier at a time
    "static": Static,
    **{name: family.shipped for name, family in FAMILIES.items() if family.shipped is not None},
}
