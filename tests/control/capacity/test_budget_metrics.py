from prometheus_client import CollectorRegistry

from modelfleet.api.budget import Budget
from modelfleet.control.capacity.budget_metrics import BudgetMetrics
from modelfleet.plan.snapshot import Name
from modelfleet.plan.spending import Ledger
from modelfleet.plan.within_budget import Account, stand

CHAT, CODE = Name("ns", "chat"), Name("ns", "code")


def account(spent: float, limit: str) -> Account:
    ledger = Ledger(at_s=1_795_348_800.0, spent={"gpt": spent})
    standing, ledger = stand(ledger, Budget(window="Day", maxUSD=limit), ())
    return Account(ledger, (), standing)


def test_accounts_are_shown_while_there_are_any():
    registry = CollectorRegistry()
    shown = BudgetMetrics(registry)

    def value(what: str, name: Name) -> float | None:
        labels = {"fleet_namespace": name.namespace, "cascade": name.name}
        return registry.get_sample_value(f"modelfleet_operator_budget_{what}", labels)

    shown.show({CHAT: account(2.5, "10"), CODE: account(7.0, "7")})
    assert [value(what, CHAT) for what in ("spent_dollars", "limit_dollars", "exhausted")] == [2.5, 10.0, 0.0]
    assert value("exhausted", CODE) == 1.0
    assert value("forecast_dollars", CODE) == 7.0

    shown.show({CHAT: account(3.0, "10")})
    assert value("spent_dollars", CHAT) == 3.0
    assert value("limit_dollars", CODE) is None
