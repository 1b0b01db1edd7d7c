"""The operator and its router as processes: a budget that is spent, through restarts of both."""

import json
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import httpx
import pytest

from tests.cli.operator_process import ROOT, Cluster, Operator, cascade, tier, until

pytestmark = pytest.mark.controlplane

ANSWER = {
    "id": "a",
    "object": "chat.completion",
    "created": 1,
    "model": "big",
    "choices": [{"index": 0, "message": {"role": "assistant", "content": "hello"}, "finish_reason": "stop"}],
    "usage": {"prompt_tokens": 100_000, "completion_tokens": 0, "total_tokens": 100_000},
}


@pytest.fixture
def api() -> Iterator[str]:
    """An API whose every answer takes 100,000 tokens; its base URL."""

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            self.rfile.read(int(self.headers["content-length"]))
            body = json.dumps(ANSWER).encode()
            self.send_response(200)
            self.send_header("content-type", "application/json")
            self.send_header("content-length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: Any) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield f"http://127.0.0.1:{server.server_address[1]}/v1"
    server.shutdown()
    thread.join()
    server.server_close()


def ask(url: str) -> httpx.Response:
    body = {"model": "chat", "messages": [{"role": "user", "content": "hi"}]}
    return httpx.post(f"{url}/v1/chat/completions", json=body, timeout=30)


def cost(cluster: Cluster) -> dict[str, Any]:
    found: dict[str, Any] = cluster.get("cascade", "chat").get("status", {}).get("cost", {})
    return found


def spent(operator: Operator) -> float | None:
    """Dollars, as the operator's metrics tell."""
    answer = operator.ask("/metrics")
    lines = answer.text.splitlines() if answer else []
    found = [line for line in lines if line.startswith("modelfleet_operator_budget_spent_dollars{")]
    return float(found[0].split()[-1]) if found else None


def explained(cluster: Cluster) -> str:
    done = subprocess.run(
        [sys.executable, "-m", "modelfleet.cli.main", "explain", "casc/chat", "-n", cluster.namespace],
        cwd=ROOT / "operator",
        env={**os.environ, "KUBECONFIG": str(cluster.plane.kubeconfig), "COLUMNS": "300"},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_a_budget_is_kept_through_restarts(
    cluster: Cluster, start: Callable[..., Operator], router: Callable[[], str], api: str
):
    cluster.configure("{capacity: {interval: 1s}, router: {externalAddresses: {allow: [127.0.0.0/8]}}}")
    operator = start()
    priced = {"inputPerMillionTokens": "10", "outputPerMillionTokens": "0"}
    gpt = tier("gpt", external={"baseURL": api, "model": "big"}, price=priced)
    del gpt["spec"]["model"], gpt["spec"]["llamaCpp"]
    chat = cascade("chat", "gpt")
    chat["spec"]["budget"] = {"window": "Month", "maxUSD": "5", "onExhausted": "Reject"}
    cluster.apply(gpt, chat)
    url = router()
    until(lambda: spent(operator) == 0.0)

    # A dollar a request: three are counted, by whoever leads and whichever router answered.
    for _ in range(2):
        assert ask(url).status_code == 200
    until(lambda: spent(operator) == 2.0)
    assert cost(cluster)["limitUSD"] == "5"
    operator.stop(signal.SIGKILL)  # what it had not written is in the router's counters still
    assert ask(url).status_code == 200
    operator = start()
    until(lambda: spent(operator) == 3.0)
    operator.stop()
    operator = start()
    until(lambda: spent(operator) == 3.0)

    # Spent: the operator says so, the router refuses, both say until when.
    for _ in range(2):
        assert ask(url).status_code == 200
    until(lambda: cluster.conditions("cascade", "chat").get("WithinBudget") == "False/Exhausted")
    until(lambda: ask(url).status_code == 429)
    refused = ask(url)
    assert refused.json()["error"]["code"] == "budget_spent"
    assert cost(cluster)["until"] in refused.json()["error"]["message"]
    assert refused.headers["retry-after"] == "3600"
    assert "BudgetExhausted" in cluster.kubectl("get", "events", "-o", "jsonpath={.items[*].reason}")
    assert "budget: 5 of 5 USD this Month" in explained(cluster)

    # More money: on it goes.
    chat["spec"]["budget"]["maxUSD"] = "100"
    cluster.apply(chat)
    until(lambda: ask(url).status_code == 200)
    assert cluster.conditions("cascade", "chat")["WithinBudget"].startswith("True/")
