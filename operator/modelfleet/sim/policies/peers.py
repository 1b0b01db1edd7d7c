"""The peers' scaling laws, each a small pure function, with the constants that they ship."""

import math
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field

from modelfleet.plan.engine import Engine
from modelfleet.plan.sizing import Lengths, Objectives, capacity, step_s, ttft_s
from modelfleet.sim.policies.simple import Damper, Target, average_value, bounded, label, target_of
from modelfleet.sim.policy import Orders, Seen, TierSeen


class PerTier:
    """A policy that scales every tier alone.  Subclasses say how many replicas one tier wishes."""

    name = ""
    look_s = 15.0

    def decide(self, seen: Seen) -> Orders:
        if seen.lost:
            return self.blind(seen)
        return Orders({tier.tier.name: self.one(tier, seen) for tier in seen.tiers if not tier.tier.external})

    def blind(self, seen: Seen) -> Orders:  # noqa: ARG002
        """What it does when the query found nothing.  Most hold."""
        return Orders({})

    def one(self, tier: TierSeen, seen: Seen) -> int:
        raise NotImplementedError


# KEDA on a Prometheus query, through HPA's AverageValue.


def keda(value: float, target: float, replicas: int) -> int:
    """What the HPA that KEDA makes wishes for an external AverageValue: kedacore/keda `pkg/scalers/prometheus_scaler.go`."""
    return average_value(value, target, replicas)


class Keda(PerTier):
    """KEDA on vLLM's num_requests_waiting, 5 per replica, every 15 s; what cannot be read counts as 0, as shipped.

    Source: the chart of vllm-project/production-stack; HPA's own defaults around it, and never to zero.
    """

    def __init__(self, target: float = 5.0) -> None:
        self.name = f"keda-waiting-{target:g}"
        self._target = target
        self._dampers: dict[str, Damper] = {}

    def one(self, tier: TierSeen, seen: Seen) -> int:
        return self._settle(
            tier, seen.now_s, keda(tier.engine_queue + tier.router_queue, self._target, tier.wanted)
        )

    def blind(self, seen: Seen) -> Orders:
        # ignoreNullValues is true as shipped: nothing is 0.
        tiers = [tier for tier in seen.tiers if not tier.tier.external]
        return Orders({tier.tier.name: self._settle(tier, seen.now_s, 0) for tier in tiers})

    def _settle(self, tier: TierSeen, now_s: float, wish: int) -> int:
        damper = self._dampers.setdefault(tier.tier.name, Damper())
        return damper.settle(now_s, tier.wanted, bounded(tier, wish))


# llm-d.


def epp_queue(
    queue: float, running: float, replicas: int, *, queue_target: float = 1.0, running_target: float = 16.0
) -> int:
    """The larger of what queue and running requests ask for, each an AverageValue of HPA."""
    return max(average_value(queue, queue_target, replicas), average_value(running, running_target, replicas))


class LlmdQueue(PerTier):
    """llm-d's KEDA and endpoint picker: 1 queued and 16 running each, 100 % per 15 s and 300 s of stabilization both ways.

    Source: llm-d/llm-d `guides/workload-autoscaling/keda-epp`.
    """

    def __init__(
        self, running_target: Target = 16.0, *, queue_target: float = 1.0, up_window_s: float = 300.0
    ) -> None:
        self.name = f"llmd-queue-{label(running_target)}"
        self._running, self._queue, self._up_s = running_target, queue_target, up_window_s
        self._dampers: dict[str, Damper] = {}

    def one(self, tier: TierSeen, seen: Seen) -> int:
        wish = epp_queue(
            tier.engine_queue + tier.router_queue,
            tier.running,
            tier.wanted,
            queue_target=self._queue,
            running_target=target_of(self._running, tier),
        )
        damper = self._dampers.setdefault(tier.tier.name, Damper(up_window_s=self._up_s, up_pods=0))
        return damper.settle(seen.now_s, tier.wanted, bounded(tier, wish))


def slo_aware(signal: float, replicas: int, *, up: float = 0.55, down: float = 0.40) -> int:
    """llm-d SLO-aware: grow where the worst predicted latency is over `up` of its goal, shrink below `down`.

    Source: llm-d-workload-variant-autoscaler `docs/developer-guide/epp-saturation-benchmark.md`.
    """
    if signal > up:
        return replicas + math.ceil(replicas * (signal / up - 1) - 1e-9)
    if signal < down:
        return replicas - math.floor(replicas * (1 - signal / down) + 1e-9)
    return replicas


class LlmdSlo(PerTier):
    """llm-d's SLO-aware scaling: P90 of both latencies over their goals, at most 2, smoothed by 0.6 per minute.

    It counts for the replicas that are ready; nothing measured reads as 0.  HPA behind it: up by 100 % or 4 per minute
    after 30 s, down by 1 per 2 minutes after 180 s.
    Source: as `slo_aware`; the latencies are measured here, where llm-d predicts them.
    """

    look_s = 60.0

    def __init__(self, up: float = 0.55, down: float = 0.40) -> None:
        self.name = f"llmd-slo-{up:g}-{down:g}"
        self._up, self._down = up, down
        self._smooth: dict[str, float] = {}
        self._dampers: dict[str, Damper] = {}

    def one(self, tier: TierSeen, seen: Seen) -> int:
        name, slo, window = tier.tier.name, seen.cascade.slo, tier.window(60.0)
        worst = max((window.ttft_s(0.9) or 0.0) / slo.ttft_s, (window.itl_s(0.9) or 0.0) / slo.itl_s)
        smooth = self._smooth.get(name, 0.0)
        self._smooth[name] = smooth = smooth + 0.6 * (min(2.0, worst) - smooth)
        signal = smooth * (tier.ready / tier.wanted if 0 < tier.ready < tier.wanted else 1.0)
        wish = slo_aware(signal, tier.wanted, up=self._up, down=self._down)
        damper = self._dampers.setdefault(
            name,
            Damper(
                up_window_s=30.0,
                down_window_s=180.0,
                up_period_s=60.0,
                down_pods=1,
                down_period_s=120.0,
            ),
        )
        return damper.settle(seen.now_s, tier.wanted, bounded(tier, wish))


def wva_v1(
    kv: Sequence[float], queues: Sequence[float], *, kv_full: float = 0.80, queue_full: float = 5.0,
    kv_spare: float = 0.10, queue_spare: float = 3.0,
) -> int:  # fmt: skip
    """llm-d WVA V1, `internal/saturation/analyzer.go`: +1, 0 or -1 by the spare room of replicas that are not full."""
    free = [(k, q) for k, q in zip(kv, queues, strict=True) if k < kv_full and q < queue_full]
    if not free:
        return 1 if kv else 0
    spare_kv = sum(kv_full - k for k, _ in free) / len(free)
    spare_queue = sum(queue_full - q for _, q in free) / len(free)
    if spare_kv < kv_spare or spare_queue < queue_spare:
        return 1
    count = len(free)
    if count < 2:  # noqa: PLR2004  the last one that is not full stays
        return 0
    load_kv, load_queue = sum(k for k, _ in free) / (count - 1), sum(q for _, q in free) / (count - 1)
    return -1 if kv_full - load_kv >= kv_spare and queue_full - load_queue >= queue_spare else 0


class WvaV1(PerTier):
    """llm-d WVA V1: one step a minute by the worst of each replica's last minute, none in transition; 240 s both ways.

    Source: llm-d-workload-variant-autoscaler v0.5.1, `internal/saturation/analyzer.go` and its HPA sample.
    """

    look_s = 60.0

    def __init__(
        self, *, up_window_s: float = 240.0, down_window_s: float = 240.0, kv_full: float = 0.80
    ) -> None:
        self.name = f"wva-v1-{up_window_s:g}-{down_window_s:g}-{kv_full:g}"
        self._windows, self._kv_full = (up_window_s, down_window_s), kv_full
        self._dampers: dict[str, Damper] = {}

    def one(self, tier: TierSeen, seen: Seen) -> int:
        # In transition nothing changes.
        step = 0 if tier.starting else wva_v1(tier.kv_peaks, tier.queue_peaks, kv_full=self._kv_full)
        damper = self._dampers.setdefault(
            tier.tier.name, Damper(up_window_s=self._windows[0], down_window_s=self._windows[1])
        )
        return damper.settle(seen.now_s, tier.wanted, bounded(tier, tier.wanted + step))


# Knative.


_KPA_STABLE_S = 60.0


@dataclass
class _Panic:
    looks: deque[int] = field(default_factory=deque)  # requests in flight, newest last
    until_s: float = -1.0
    most: int = 0


def kpa(stable: float, burst: float, ready: int, *, target: float, panicking: bool, most: int) -> int:
    """What both windows ask for, within half and a thousand times what is ready; in panic never fewer than before."""
    low, high = max(1, ready) // 2, 1000 * max(1, ready)
    by_stable = min(max(math.ceil(stable / target - 1e-9), low), high)
    by_burst = min(max(math.ceil(burst / target - 1e-9), low), high)
    return max(by_stable, by_burst, most) if panicking else by_stable


def kpa_panics(burst: float, ready: int, *, target: float) -> bool:
    """Whether whole replicas of the short window are twice those that are ready: panic-threshold-percentage 200."""
    return math.ceil(burst / target - 1e-9) / max(1, ready) >= 2.0  # noqa: PLR2004


class Kpa(PerTier):
    """Knative's KPA: stable window 60 s, panic window 6 s, tick 2 s, target 100 times 70 %.

    It begins in panic where more than one replica is ready, which is how a restart keeps them.
    Source: knative/serving `pkg/autoscaler/scaling/autoscaler.go`, `config/core/configmaps/autoscaler.yaml`.
    """

    look_s = 2.0

    def __init__(self, target: Target = 70.0) -> None:
        self.name = f"kpa-{label(target)}"
        self._target = target
        self._panics: dict[str, _Panic] = {}

    def one(self, tier: TierSeen, seen: Seen) -> int:
        panic = self._panics.get(tier.tier.name)
        if panic is None:
            panic = self._panics[tier.tier.name] = _Panic()
            if tier.ready > 1:
                panic.until_s, panic.most = seen.now_s + _KPA_STABLE_S, tier.ready
        panic.looks.append(tier.in_flight)
        while len(panic.looks) > round(_KPA_STABLE_S / self.look_s):
            panic.looks.popleft()
        stable = sum(panic.looks) / len(panic.looks)
        short = list(panic.looks)[-round(6 / self.look_s) :]
        burst = sum(short) / len(short)
        target = target_of(self._target, tier)
        if kpa_panics(burst, tier.ready, target=target):
            panic.until_s = seen.now_s + _KPA_STABLE_S
        panicking = seen.now_s <= panic.until_s
        wish = kpa(stable, burst, tier.ready, target=target, panicking=panicking, most=panic.most)
        panic.most = max(panic.most, wish) if panicking else 0
        return bounded(tier, wish)


# NVIDIA Dynamo.

_DYNAMO_SLOW_S = 180.0


def dynamo_floor(rate_rps: float, engine: Engine, lengths: Lengths, goals: Objectives) -> int:
    """The slow loop, ai-dynamo/dynamo `planner/core/throughput_scaling.py`: rate by what one engine carries."""
    return math.ceil(rate_rps / max(1e-9, capacity(engine, lengths, goals).rate_rps) - 1e-9)


def dynamo_step(rate_rps: float, ready: int, engine: Engine, lengths: Lengths, goals: Objectives) -> int:
    """The fast loop, `load_scaling.py`: +1 where all engines miss a goal, -1 where one fewer keeps 80 % of both and the memory."""
    per = rate_rps / max(1, ready)
    if step_s(engine, lengths, per) > goals.itl_s or ttft_s(engine, lengths, per) > goals.ttft_s:
        return 1
    if ready > 1:
        fewer = rate_rps / (ready - 1)
        prompt_s = engine.step_s_per_prompt_token * lengths.prompt
        in_time = ttft_s(engine, lengths, fewer) - prompt_s < 0.8 * (goals.ttft_s - prompt_s)
        step = step_s(engine, lengths, fewer)
        tokens = fewer * lengths.output * step * (lengths.prompt + lengths.output / 2)
        if in_time and step < 0.8 * goals.itl_s and tokens <= engine.kv_tokens:
            return -1
    return 0


class Dynamo(PerTier):
    """NVIDIA Dynamo's planner: a floor every 180 s from the rate, one step every 5 s from the latencies, none while scaling.

    Source: ai-dynamo/dynamo `components/src/dynamo/planner/core`.  The next rate is the last one (its `constant`
    predictor), what an engine carries and its latencies are in closed form (its regression), at mean lengths as there.
    """

    look_s = 5.0

    def __init__(self, *, itl_part: float = 1.0) -> None:
        self.name = f"dynamo-{itl_part:g}"
        self._part = itl_part
        self._floors: dict[str, tuple[float, int]] = {}

    def one(self, tier: TierSeen, seen: Seen) -> int:
        window, slo = tier.window(180.0), seen.cascade.slo
        if window.prompt_tokens_mean is None or window.output_tokens_mean is None:
            return tier.wanted
        lengths = Lengths(window.prompt_tokens_mean, window.output_tokens_mean)
        goals = Objectives(slo.ttft_s, slo.itl_s * self._part)
        set_s, floor = self._floors.get(tier.tier.name, (-math.inf, tier.wanted))
        if seen.now_s - set_s >= _DYNAMO_SLOW_S:
            floor = dynamo_floor(window.rate_rps, tier.tier.engine, lengths, goals)
            self._floors[tier.tier.name] = seen.now_s, floor
        step = (
            0
            if tier.starting
            else dynamo_step(tier.window(30.0).rate_rps, tier.ready, tier.tier.engine, lengths, goals)
        )
        return bounded(tier, max(floor, tier.wanted + step))
