"""What can be seen of simulated tiers: gauges as of the last scrape that has arrived, counters by meter, pods as they are."""

from collections import deque
from collections.abc import Sequence

from modelfleet.sim.fleet import Conditions
from modelfleet.sim.meter import Meter, Peaks
from modelfleet.sim.policy import TierSeen
from modelfleet.sim.pool import Pool


class Sight:
    """All tiers, in the order of the cascade.  `whole`: the cascade as its clients see it."""

    def __init__(self, pools: Sequence[Pool], conditions: Conditions) -> None:
        self.meters = [Meter(conditions.scrape_s) for _ in pools]
        self.whole = Meter(conditions.scrape_s)
        self._pools = pools
        self._lag_s = conditions.lag_s
        self._peaks = [Peaks(conditions.scrape_s) for _ in pools]
        self._shown: deque[tuple[float, list[dict[str, object]]]] = deque()  # gauges of past scrapes
        self._busy_s = [0.0 for _ in pools]  # when each had requests last

    def scraped(self, now_s: float) -> None:
        """A scrape: what is counted until now can be read after the lag."""
        for meter in (*self.meters, self.whole):
            meter.turn()
        for peaks, pool in zip(self._peaks, self._pools, strict=True):
            peaks.scraped({one: (one.kv_share, float(len(one.waiting))) for one in pool.ready})
        self._shown.append((now_s, self._gauges()))
        while len(self._shown) > 1 and self._shown[1][0] <= now_s - self._lag_s:
            self._shown.popleft()

    def came(self, index: int, now_s: float) -> None:
        """A request is sent to a tier."""
        self.meters[index].slot.arrivals += 1
        self._busy_s[index] = now_s

    def tiers(self, now_s: float) -> list[TierSeen]:
        """What a policy can read now."""
        gauges = self._shown[0][1] if self._shown else self._gauges()
        return [
            TierSeen(
                tier=pool.tier,
                wanted=pool.wanted,
                ready=len(pool.ready),
                starting=len(pool.starting),
                cold_starts_s=pool.cold_starts_s,
                meter=meter,
                lag_s=self._lag_s,
                pods=pool.seen(),
                quiet_s=0.0 if in_flight(pool) else now_s - busy_s,
                **gauge,  # type: ignore[arg-type]
            )
            for pool, meter, gauge, busy_s in zip(self._pools, self.meters, gauges, self._busy_s, strict=True)
        ]

    def _gauges(self) -> list[dict[str, object]]:
        return [_gauges(pool, peaks) for pool, peaks in zip(self._pools, self._peaks, strict=True)]


def in_flight(pool: Pool) -> int:
    """Requests in a tier, those in the router's line too."""
    return sum(replica.in_flight for replica in pool.ready) + len(pool.line)


def _gauges(pool: Pool, peaks: Peaks) -> dict[str, object]:
    """What engines and router show at a scrape."""
    queues = [len(replica.waiting) for replica in pool.ready]
    runnings = [replica.running for replica in pool.ready]
    kv = [replica.kv_share for replica in pool.ready]
    return {
        "in_flight": in_flight(pool),
        "running": sum(runnings),
        "engine_queue": sum(queues),
        "router_queue": len(pool.line),
        "kv_mean": sum(kv) / len(kv) if kv else 0.0,
        "kv": kv,
        "queues": queues,
        "runnings": runnings,
        "kv_peaks": [peaks.of(replica)[0] for replica in pool.ready],
        "queue_peaks": [peaks.of(replica)[1] for replica in pool.ready],
    }
