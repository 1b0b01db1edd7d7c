"""Ten times what the engines can do: what is done of it, how fast the rest is refused, how soon all is as before."""

import asyncio
import time

from bench.figures import Figure, ranged
from bench.load.client import Clients, Seen, failures, quantile
from bench.load.setting import Setting, ask, world
from bench.load.site import table

PLACES, SERVICE_MS, REPLICAS = 8, 160, 2
CAPACITY = REPLICAS * PLACES / (SERVICE_MS / 1000)  # requests a second
DEADLINE_S = 4.0
CALM_SHARE = 0.5
AFTER_S = 8.0


async def overload(setting: Setting) -> list[Figure]:
    """Peak with as many clients as places; then ten times that; then half."""
    request = ask(delay_ms=SERVICE_MS)
    rules = table({"small": 1000}, concurrency=PLACES, waiting=16, deadline_s=DEADLINE_S)
    async with world(setting, {"small": REPLICAS}, rules) as found:
        peak = found.clients()
        seconds = setting.seconds(4, 15)
        await peak.steady(2 * REPLICAS * PLACES, seconds, request)
        calm = found.clients()
        await calm.paced(CALM_SHARE * CAPACITY, setting.seconds(3, 10), request)

        flood = found.clients()
        flood_s = setting.seconds(8, 60)
        began_s = time.monotonic()
        flooding = asyncio.create_task(flood.paced(10 * CAPACITY, flood_s, request))
        await asyncio.sleep(flood_s)
        after = found.clients()
        over_s = time.monotonic()
        await after.paced(CALM_SHARE * CAPACITY, AFTER_S, request)
        await flooding
        goodput = _rate(flood.seen, began_s + 1, began_s + flood_s)
        normal_s = _normal_s(after.seen, calm.seen, over_s)
        wasted = sum(work.asked for work in found.works) - sum(
            len(each.seen.ended_s) for each in (peak, calm, flood, after)
        )
        _close(peak, calm, flood, after)
    return [
        *_under(flood.seen, goodput / _rate(peak.seen, 0, float("inf"), seconds)),
        ranged("overload_normal_after_s", normal_s, [normal_s], "s", at_most=5),
        ranged("overload_work_in_vain", wasted, [wasted], "requests", at_most=0),
    ]


def _under(seen: Seen, share: float) -> list[Figure]:
    refused_ms = [took * 1000 for _, took in seen.refused_s]
    p50, p99 = quantile(refused_ms, 0.5), quantile(refused_ms, 0.99)
    percent = round(100 * share, 1)
    return [
        Figure("overload_goodput_percent_of_peak", percent, percent, percent, "%", ">= 90", percent >= 90),
        ranged("overload_refusal_p50_ms", p50, [p50], "ms"),
        ranged("overload_refusal_p99_ms", p99, [min(refused_ms), max(refused_ms)], "ms", at_most=50),
        ranged("overload_refused", len(refused_ms), [len(refused_ms)], "requests"),
        ranged("overload_not_sent", seen.unsent, [seen.unsent], "requests that the load had no room for"),
        failures("overload_failed", [seen]),
    ]


def _rate(seen: Seen, from_s: float, until_s: float, seconds: float | None = None) -> float:
    """Good answers a second."""
    count = sum(from_s <= at <= until_s for at, _ in seen.ended_s)
    return count / (seconds if seconds is not None else until_s - from_s)


def _normal_s(after: Seen, calm: Seen, over_s: float) -> float:
    """From the end of the flood to the last request that was refused, failed, or took longer than calm ones do."""
    limit_s = 1.5 * quantile([took for _, took in calm.ended_s], 0.99)
    late = [at - over_s for at, took in after.ended_s if took > limit_s]
    late += [at - over_s for at, _ in after.refused_s]
    # One odd answer in a thousand is the machine's noise and not the flood's trace.
    spared = len(after.ended_s) // 1000
    return sorted(late)[-1 - spared] if len(late) > spared else 0.0


def _close(*all_clients: Clients) -> None:
    for each in all_clients:
        each.close()
