"""One tier as a policy sees it, calm; tests change one thing."""

from modelfleet.plan.profiles import PROFILES
from modelfleet.sim.fleet import Cascade, Tier
from modelfleet.sim.meter import Meter
from modelfleet.sim.policy import Seen, TierSeen

SMALL = Tier("small", PROFILES["8b-h100"], replicas_max=20)
CALM = TierSeen(
    tier=SMALL,
    wanted=2,
    ready=2,
    starting=0,
    in_flight=20,
    running=20,
    engine_queue=0,
    router_queue=0,
    kv_mean=0.1,
    kv=[0.1, 0.1],
    queues=[0, 0],
    runnings=[10, 10],
    kv_peaks=[0.1, 0.1],
    queue_peaks=[0.0, 0.0],
    cold_starts_s=[],
    meter=Meter(5.0),
    lag_s=0.0,
)


def seen(tier: TierSeen = CALM, *, now_s: float = 1000.0) -> Seen:
    return Seen(now_s, Cascade((tier.tier,)), [tier], entered=0)
