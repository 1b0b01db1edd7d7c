"""What Cascades with a budget have spent, as Prometheus metrics.  US dollars."""

from collections.abc import Mapping

from prometheus_client import CollectorRegistry, Gauge

from modelfleet.plan.snapshot import Name
from modelfleet.plan.within_budget import Account

_CASCADE = ("fleet_namespace", "cascade")


class BudgetMetrics:
    """The instruments; one set per registry."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self._shown: set[tuple[str, str]] = set()
        prefix = "modelfleet_operator_budget_"
        self._spent = Gauge(
            f"{prefix}spent_dollars",
            "What replicas and tokens have cost a Cascade in this window of its budget.",
            _CASCADE,
            registry=registry,
        )
        self._limit = Gauge(
            f"{prefix}limit_dollars",
            "What they may cost in it: spec.budget.maxUSD.",
            _CASCADE,
            registry=registry,
        )
        self._forecast = Gauge(
            f"{prefix}forecast_dollars",
            "What they will have cost at its end, if it goes on as in the last hour.",
            _CASCADE,
            registry=registry,
        )
        self._exhausted = Gauge(
            f"{prefix}exhausted", "1 while spec.budget.onExhausted holds.", _CASCADE, registry=registry
        )

    def show(self, accounts: Mapping[Name, Account]) -> None:
        """All accounts as they are; those that are gone are dropped."""
        for gone in self._shown - accounts.keys():
            for gauge in (self._spent, self._limit, self._forecast, self._exhausted):
                gauge.remove(*gone)
        for name, account in accounts.items():
            self._spent.labels(*name).set(account.ledger.total)
            self._limit.labels(*name).set(account.standing.limit)
            self._forecast.labels(*name).set(account.standing.forecast)
            self._exhausted.labels(*name).set(account.standing.exhausted)
        self._shown = set(accounts)
