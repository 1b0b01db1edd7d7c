"""What a Cascade has spent, in words: the part of `modelfleet explain` about its budget."""

from dataclasses import dataclass

from modelfleet import names
from modelfleet.adapters.kube import KubeCluster
from modelfleet.api.cascade import Cascade
from modelfleet.api.key import Key
from modelfleet.api.meta import rfc3339
from modelfleet.plan import spending
from modelfleet.plan.spending import Ledger
from modelfleet.plan.within_budget import usd


@dataclass(frozen=True, slots=True)
class Spent:
    """A Cascade with a budget, and its ledger."""

    cascade: Cascade
    ledger: Ledger


async def read(cluster: KubeCluster, cascade: str, namespace: str) -> Spent | None:
    """What the operator keeps of it; None: it has no budget, or nothing is kept yet.  Raises ClusterError, ValueError."""
    item = await cluster.get(Key("Cascade", namespace, cascade))
    if item is None or item.get("spec", {}).get("budget") is None:
        return None
    kept = await cluster.get(Key("ConfigMap", namespace, names.plan_notes(cascade)))
    text = ((kept or {}).get("data") or {}).get(names.PLAN_BUDGET_KEY)
    return None if text is None else Spent(Cascade.model_validate(item), spending.decode(text))


def lines(spent: Spent) -> list[str]:
    """What to say of it."""
    budget, cost, ledger = spent.cascade.spec.budget, spent.cascade.status.cost, spent.ledger
    assert budget is not None
    # The status is seconds old, the ledger as kept up to five minutes.
    now = usd(ledger.total)
    if cost is not None and float(cost.spent_usd) > ledger.total and cost.until > rfc3339(ledger.at_s):
        now = cost.spent_usd
    told = [f"budget: {now} of {budget.max_usd} USD this {budget.window}"]
    if cost is not None:
        told[0] += f", from {cost.since} to {cost.until}; at this rate {cost.forecast_usd} USD by then"
    if ledger.spent:
        by_tier = ", ".join(f"{tier} {usd(dollars)}" for tier, dollars in sorted(ledger.spent.items()))
        told.append(f"spent by tier, as of {rfc3339(ledger.at_s)}: {by_tier}")
    said = next((each for each in spent.cascade.status.conditions if each.type == "WithinBudget"), None)
    if said is not None:
        told.append(f"{said.reason}: {said.message}")
    return told
