"""How fast replicas may change: HPA v2's `behavior`, with its defaults filled in."""

from dataclasses import dataclass
from typing import Literal

from modelfleet.api.scaling import ScalingBehavior, ScalingRules


@dataclass(frozen=True, slots=True)
class Policy:
    """At most `value` pods, or percent of the replicas at the start of the period, per `period_s`."""

    kind: Literal["Pods", "Percent"]
    value: int
    period_s: float


@dataclass(frozen=True, slots=True)
class Direction:
    """Rules for one direction.  `tolerance` is a ratio."""

    window_s: float
    select: Literal["Max", "Min", "Disabled"]
    policies: tuple[Policy, ...]
    tolerance: float


@dataclass(frozen=True, slots=True)
class Behavior:
    """Both directions."""

    up: Direction
    down: Direction

    @property
    def memory_s(self) -> float:
        """How far back the past matters."""
        periods = [policy.period_s for side in (self.up, self.down) for policy in side.policies]
        return max(self.up.window_s, self.down.window_s, *periods)


# The defaults of HPA v2 (autoscaling/v2, HorizontalPodAutoscalerBehavior).
_TOLERANCE = 0.1
_UP = Direction(0.0, "Max", (Policy("Percent", 100, 15.0), Policy("Pods", 4, 15.0)), _TOLERANCE)
_DOWN = Direction(300.0, "Max", (Policy("Percent", 100, 15.0),), _TOLERANCE)


def behavior(spec: ScalingBehavior) -> Behavior:
    """The user's rules over HPA v2's defaults."""
    return Behavior(
        up=_direction(spec.scale_up, default=_UP), down=_direction(spec.scale_down, default=_DOWN)
    )


def _direction(rules: ScalingRules, *, default: Direction) -> Direction:
    window_s = rules.stabilization_window_seconds
    policies = tuple(Policy(p.type, p.value, float(p.period_seconds)) for p in rules.policies)
    return Direction(
        window_s=default.window_s if window_s is None else float(window_s),
        select=rules.select_policy,
        policies=policies or default.policies,
        tolerance=default.tolerance if rules.tolerance is None else float(rules.tolerance),
    )
