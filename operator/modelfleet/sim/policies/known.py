"""Policies by the names that the command line and the benchmark use, each with its peer's shipped constants."""

from collections.abc import Callable, Mapping

from modelfleet.sim.policies.ours import Joint, Lead
from modelfleet.sim.policies.peers import Dynamo, Keda, Kpa, LlmdQueue, LlmdSlo, WvaV1
from modelfleet.sim.policies.simple import Hpa, KubeAi, Static
from modelfleet.sim.policy import Policy

KNOWN: Mapping[str, Callable[[], Policy]] = {
    "joint": Joint,  # ours: all tiers of the cascade at once
    "lead": Lead,  # ours, one tier at a time
    "static": Static,
    "hpa": lambda: Hpa(100.0),
    "keda": Keda,
    "llmd-queue": LlmdQueue,
    "llmd-slo": LlmdSlo,
    "wva-v1": WvaV1,
    "kubeai": KubeAi,
    "kpa": Kpa,
    "dynamo": Dynamo,
}
