"""What the router believes right now, for people: `GET /debug/table` on the metrics port.

No keys, no URLs, nothing of any request.
"""

from typing import Any

import orjson

from modelfleet.route.health import UNLIMITED
from modelfleet.router.fleet import Line
from modelfleet.router.pool import Pool
from modelfleet.router.state import State
from modelfleet.router.upstream import Replica


def table(state: State, *, now_s: float) -> bytes:
    """Cascades with their entry weights, and every tier's replicas with what is known of them.  `now_s`: loop time."""
    seen = {
        "tableVersion": state.metrics.table_version,
        "tableLoadedAt": state.metrics.table_loaded_at_s,  # Unix time
        "routers": state.rules.routers,  # among whom limits are divided
        "notReady": state.unready_reason(),
        "cascades": [_cascade(line) for line in state.fleet.lines.values()],
        "modelTiers": [_pool(name, pool, now_s) for (name, _), pool in sorted(state.pools.items())],
    }
    return orjson.dumps(seen, option=orjson.OPT_INDENT_2)


def _cascade(line: Line) -> dict[str, Any]:
    return {
        "name": line.route.cascade,
        "model": line.route.model_name,
        "overflow": _overflow(line),
        "law": _law(line),
        "budgetSpent": line.route.spent.action if line.route.spent is not None else None,
        "tiers": [
            {
                "name": step.route.name,
                "modelTier": step.route.model_tier,
                "weightPermille": step.route.weight_permille,
                "entryShare": round(step.stats.entry_share, 4),
                "inFlight": step.stats.in_flight,
                "turnedAway": {why: count for why, count in step.stats.turned_away.items() if count},
            }
            for step in line.steps
        ],
    }


def _law(line: Line) -> dict[str, Any] | None:
    if line.law is None:
        return None
    return {
        "owedPermille": line.route.owed_permille,
        "requestsPerSecond": round(line.law.rate_rps, 3),
        "balanceRequests": round(line.law.bank.balance, 3),  # answers of the last tier beyond what it owes
    }


def _overflow(line: Line) -> dict[str, Any] | None:
    rule, share = line.route.overflow, line.share
    if rule is None or share is None:
        return None
    return {
        "when": rule.when,
        "maxShare": share.percent,
        "requestsLastMinute": share.requests,
        "overflowed": share.overflowed,
        "left": share.left,
    }


def _pool(name: str, pool: Pool, now_s: float) -> dict[str, Any]:
    return {
        "name": name,
        "external": pool.external,
        "waiting": pool.stats.waiting,
        "waitingMax": pool.waiting_max,
        "tenantsWaiting": pool.stats.tenants,
        "cold": pool.cold is not None,
        "held": pool.stats.held,
        "meanHoldSeconds": round(pool.hold_s, 3),
        "rate": _rate(pool, now_s),
        "retryBudget": {"requests": pool.budget.requests, "retries": pool.budget.retries},
        "replicas": [_replica(replica, now_s) for replica in pool.replicas],
    }


def _rate(pool: Pool, now_s: float) -> dict[str, Any] | None:
    if pool.rate is None:
        return None
    requests, tokens = pool.rate.parts
    return {
        "requestsPerMinute": requests,  # of this router
        "tokensPerMinute": tokens,
        "opensInSeconds": round(pool.rate_s(now_s), 3),
    }


def _replica(replica: Replica, now_s: float) -> dict[str, Any]:
    health = replica.health
    seen: dict[str, Any] = {
        "address": f"{replica.host}:{replica.port}",
        "inFlight": replica.in_flight,
        "room": None if replica.room == UNLIMITED else replica.room,
        "state": health.state,
        "failuresInRow": health.in_row,
    }
    if health.state != "In":
        seen |= {"reason": health.reason, "forSeconds": round(now_s - health.since_s, 1)}
    if replica.warmth < 1.0:
        seen["warmth"] = round(replica.warmth, 2)
    if replica.denied:
        seen["addressDenied"] = list(replica.denied)
    if health.state == "Out":
        seen["probedInSeconds"] = max(0.0, round(health.until_s - now_s, 1))
    return seen
