"""The end of the demo: what was decided and why, what the clients got, and where to look next."""

from collections.abc import Sequence
from datetime import datetime
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from e2e.demo.fleet import Decision


def decisions_table(decisions: Sequence[Decision]) -> Table:
    table = Table(title="What was decided, as the objects themselves say", title_justify="left")
    for name in ("time", "object", "decision", "reason", "because"):
        table.add_column(name, overflow="fold", no_wrap=name == "time")
    for decision in sorted(decisions, key=lambda each: each.time):
        # What stands in parentheses says the decision again, in numbers.
        message = decision.message.partition(" (")[0]
        table.add_row(_local(decision.time), decision.subject, decision.what, decision.reason, message)
    return table


def requests_table(reports: dict[str, dict[str, Any]], steps: Sequence[str]) -> Table:
    """One row per client and one for all; shares are of answers."""
    table = Table(title="What the clients got; nobody retried", title_justify="left")
    columns = ("client", "sent", "streamed", "failed", "retried", "TTFT", *steps)
    for name in columns:
        table.add_column(name, justify="left" if name == "client" else "right")
    for client, report in reports.items():
        table.add_row(client, *_row(report, steps))
    if len(reports) > 1:
        table.add_section()
        table.add_row("all", *_row(_sum(list(reports.values())), steps))
    return table


def _row(report: dict[str, Any], steps: Sequence[str]) -> list[str]:
    tiers = report.get("tiers", {})
    answered = sum(tiers.values())
    shares = [
        f"{tiers.get(step, 0)} ({100 * tiers.get(step, 0) // answered if answered else 0} %)"
        for step in steps
    ]
    ttft = report.get("ttftMedianS")
    counts = [str(report.get(name, 0)) for name in ("sent", "streams", "failed", "retried")]
    return [*counts, f"{ttft:.2f} s" if ttft is not None else "", *shares]


def _sum(reports: Sequence[dict[str, Any]]) -> dict[str, Any]:
    total: dict[str, Any] = {"tiers": {}}
    for report in reports:
        for name in ("sent", "streams", "failed", "retried"):
            total[name] = total.get(name, 0) + report.get(name, 0)
        for step, count in report.get("tiers", {}).items():
            total["tiers"][step] = total["tiers"].get(step, 0) + count
    return total


def where_to_look(console: Console, *, namespace: str, kubeconfig: Path, programs: Path, kept: bool) -> None:
    """Commands to go on with; `programs` is the folder with kubectl and helm."""
    commands = (
        ("the fleet", f"kubectl -n {namespace} get fleet"),
        ("why a tier is as it is", f"kubectl -n {namespace} describe modeltier smollm2-135m"),
        ("what was decided", f"kubectl -n {namespace} get events --sort-by=.lastTimestamp"),
        ("what a field means", "kubectl explain modeltier.spec.scaling"),
        ("ask the cascade", f"kubectl -n {namespace} port-forward service/modelfleet-router 8080:80"),
        ("", "curl localhost:8080/v1/chat/completions -H 'content-type: application/json' \\"),
        ("", '  -d \'{"model": "chat", "messages": [{"role": "user", "content": "Hello"}]}\''),
        ("measurements", "kubectl -n monitoring port-forward service/prometheus 9090"),
    )
    if not kept:
        console.print(
            "\nNext: [bold]KEEP=1 make demo[/bold] leaves the cluster up; README.md and docs/ say the rest."
        )
        return
    exports = f"export KUBECONFIG={kubeconfig} PATH={programs}:$PATH"
    console.print(f"\nThe cluster is up:  [bold]{exports}[/bold]", soft_wrap=True)
    for what, command in commands:
        console.print(f"  {what:24} {command}", soft_wrap=True)
    console.print("  [bold]make cluster-down[/bold] ends it.")


def _local(time: str) -> str:
    return datetime.fromisoformat(time).astimezone().strftime("%H:%M:%S")
