"""The operator as a process, the control plane that it works on, and what tests ask of both."""

import json
import os
import signal
import subprocess
import sys
import time
import uuid
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
import yaml

from e2e.cluster.controlplane import ControlPlane, free_ports

ROOT = Path(__file__).parents[2]
LIMIT_S = 60.0
CHILDREN = "deployment,service,serviceaccount,poddisruptionbudget,configmap,rolebinding"
OURS = ("-l", "app.kubernetes.io/managed-by=modelfleet")
SYSTEM = "modelfleet-system"
ROUTER_ADDRESS = "127.86.75.30"  # its metrics have a fixed port, so the address must be nobody else's


class Cluster:
    """A control plane with our kinds and an audit log; all in one namespace per test."""

    def __init__(self, plane: ControlPlane, audit_log: Path) -> None:
        self.plane = plane
        self.audit_log = audit_log
        self.namespace = "default"

    def kubectl(self, *args: str, stdin: str | None = None, ok: bool = True) -> str:
        done = self.plane.kubectl("-n", self.namespace, *args, stdin=stdin)
        assert done.returncode == 0 or not ok, done.stderr
        return done.stdout

    def apply(self, *objects: dict[str, Any]) -> None:
        self.kubectl("apply", "-f", "-", stdin=yaml.safe_dump_all(objects))

    def configure(self, settings: str) -> None:
        """Settings of the operators that work on this namespace."""
        meta = {"name": self.namespace, "namespace": SYSTEM}
        text = {"settings.yaml": settings}
        self.plane.kubectl(
            "apply", "-f", "-",
            stdin=json.dumps({"apiVersion": "v1", "kind": "ConfigMap", "metadata": meta, "data": text}),
        )  # fmt: skip

    def get(self, *args: str) -> dict[str, Any]:
        found = self.kubectl("get", *args, "-o", "json", "--ignore-not-found")
        return json.loads(found) if found else {}

    def conditions(self, kind: str, name: str) -> dict[str, str]:
        conditions = self.get(kind, name).get("status", {}).get("conditions", ())
        return {each["type"]: f"{each['status']}/{each['reason']}" for each in conditions}

    def children(self) -> list[str]:
        return [
            f"{item['kind']}/{item['metadata']['name']}"
            for item in self.get(CHILDREN, *OURS).get("items", [])
        ]

    def versions(self) -> dict[str, str]:
        """resourceVersion of everything that is ours or our users'."""
        items = [*self.get(CHILDREN, *OURS).get("items", []), *self.get("modeltier,cascade").get("items", [])]
        return {
            f"{item['kind']}/{item['metadata']['name']}": item["metadata"]["resourceVersion"]
            for item in items
        }

    def writes(self) -> list[str]:
        """Writes of the operator to this namespace, from the audit log."""
        events = map(json.loads, self.audit_log.read_text().splitlines())
        return [
            f"{event['verb']} {event['requestURI']}"
            for event in events
            if event["verb"] not in ("get", "list", "watch")
            and event.get("userAgent", "").startswith("modelfleet/")
            and event.get("objectRef", {}).get("namespace") == self.namespace
        ]


class Operator:
    """One operator process; those of one test share a lease and settings that are no other test's."""

    def __init__(self, cluster: Cluster, *, log: Path, **environment: str) -> None:
        self.port = int(environment.get("LISTEN_PORT") or free_ports(1)[0])
        self.identity = f"op-{uuid.uuid4().hex[:6]}"
        settings = {
            "LISTEN_HOST": "127.0.0.1",
            "LISTEN_PORT": str(self.port),
            "IDENTITY": self.identity,
            "NAMESPACE": SYSTEM,
            "LEASE_NAME": cluster.namespace,
            "SETTINGS_CONFIG_MAP": cluster.namespace,
            **environment,
        }
        self._log = log.open("a")
        self.process = subprocess.Popen(
            [sys.executable, "-m", "modelfleet.cli.main", "operator"],
            cwd=ROOT / "operator",
            env={
                **os.environ,
                "KUBECONFIG": str(cluster.plane.kubeconfig),
                **{f"MODELFLEET_{name}": value for name, value in settings.items()},
            },
            stdout=self._log,
            stderr=self._log,
        )

    def ask(self, path: str) -> httpx.Response | None:
        try:
            return httpx.get(f"http://127.0.0.1:{self.port}{path}", timeout=5)
        except httpx.HTTPError:
            return None

    def ready(self) -> bool:
        assert self.process.poll() is None, "the operator ended"
        answer = self.ask("/readyz")
        return answer is not None and answer.status_code == 200

    def leads(self) -> bool:
        answer = self.ask("/metrics")
        return answer is not None and "modelfleet_operator_leading 1.0" in answer.text

    def reconciles(self) -> float:
        """How many reconciles there were."""
        answer = self.ask("/metrics")
        lines = answer.text.splitlines() if answer else []
        return sum(
            float(line.split()[-1])
            for line in lines
            if line.startswith("modelfleet_operator_reconcile_seconds_count")
        )

    def stop(self, how: signal.Signals = signal.SIGTERM) -> int:
        if self.process.poll() is None:
            self.process.send_signal(how)
        try:
            return self.process.wait(20)
        finally:
            self._log.close()


def until(condition: Callable[[], Any], *, limit_s: float = LIMIT_S) -> None:
    """Wait for the condition."""
    deadline = time.monotonic() + limit_s
    while not condition():
        assert time.monotonic() < deadline, "it did not come true in time"
        time.sleep(0.1)


def tier(name: str = "small", **spec: Any) -> dict[str, Any]:
    spec = {"model": {"uri": "pvc://models/x.gguf"}, "llamaCpp": {}, **spec}
    return {
        "apiVersion": "modelfleet.dev/v1alpha1",
        "kind": "ModelTier",
        "metadata": {"name": name},
        "spec": spec,
    }


def cascade(name: str = "chat", *tiers: str) -> dict[str, Any]:
    steps = [
        {"name": f"step-{number}", "tierRef": {"name": each}}
        for number, each in enumerate(tiers or ["small"])
    ]
    return {
        "apiVersion": "modelfleet.dev/v1alpha1",
        "kind": "Cascade",
        "metadata": {"name": name},
        "spec": {"modelName": name, "tiers": steps},
    }


def router_pod(cluster: Cluster, name: str) -> None:
    """A pod as the router's Deployment makes it."""
    template = cluster.get("deployment", "modelfleet-router")["spec"]["template"]
    spec = {**template["spec"], "automountServiceAccountToken": False}
    labels = template["metadata"]["labels"]
    meta = {"name": name, "labels": labels}
    cluster.apply({"apiVersion": "v1", "kind": "Pod", "metadata": meta, "spec": spec})


def probed(cluster: Cluster, name: str, *, ready: bool) -> None:
    """What the kubelet writes."""
    status = {"conditions": [{"type": "Ready", "status": str(ready)}], "podIP": ROUTER_ADDRESS}
    cluster.kubectl("patch", "pod", name, "--subresource=status", "-p", json.dumps({"status": status}))
