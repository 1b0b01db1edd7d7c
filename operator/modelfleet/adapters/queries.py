"""Every PromQL query of the capacity loop.  Each one covers the whole fleet, so a tick costs a handful of them.

The router's metrics carry our own labels: fleet_namespace, model_tier, cascade, tier.  No relabelling is needed
beyond what Prometheus does by itself (`instance`).  Scrape the routers every 5 to 15 s; at more than 30 s the
latency's window no longer holds the two scrapes that a rate needs, and TTFT targets hold.
"""

_BY_TIER = "by (fleet_namespace, model_tier)"
_BY_STEP = "by (fleet_namespace, cascade, tier)"
_IN_FLIGHT = "modelfleet_router_requests_in_flight"
_TTFT = "modelfleet_router_time_to_first_token_seconds"

# A mean, because one scrape of a gauge that jumps is a coin toss; the last scrape where the window holds none.
IN_FLIGHT = f"sum {_BY_TIER} (avg_over_time({_IN_FLIGHT}[15s]) or {_IN_FLIGHT})"

# Ages by Prometheus' own clock: ours may be off.  The oldest router counts, since the sum needs them all.
AGE = f"time() - min {_BY_TIER} (timestamp({_IN_FLIGHT}))"

# A tier has one series per Cascade in each router; a router counts once.
ROUTERS = f"count {_BY_TIER} (count by (fleet_namespace, model_tier, instance) ({_IN_FLIGHT}))"

# Tells an idle tier (0, the quantile is NaN) from one that nobody measures (no sample).
FIRST_TOKENS = f"sum {_BY_TIER} (rate({_TTFT}_count[1m]))"

STARTED = f"sum {_BY_STEP} (increase(modelfleet_router_requests_started_total[1h]))"
ANSWERED = f"sum {_BY_STEP} (increase(modelfleet_router_requests_answered_total[1h]))"


def ttft(percentile: int) -> str:
    """Time to first token in seconds at a percentile from 1 to 99."""
    by = "by (fleet_namespace, model_tier, le)"
    return f"histogram_quantile({percentile / 100}, sum {by} (rate({_TTFT}_bucket[1m])))"
