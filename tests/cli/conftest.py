"""A control plane with our kinds, operators and a router on it, as processes."""

import os
import signal
import subprocess
import sys
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path

import httpx
import pytest

from e2e.cluster.controlplane import ControlPlane, free_ports
from tests.cli.operator_process import (
    ROOT,
    ROUTER_ADDRESS,
    SYSTEM,
    Cluster,
    Operator,
    probed,
    router_pod,
    until,
)


@pytest.fixture(scope="session")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    """A control plane of their own: no object that another test left may be what an operator is busy with."""
    audit_log = tmp_path_factory.mktemp("audit") / "audit.log"
    with ControlPlane(audit_log=audit_log) as plane:
        made = Cluster(plane, audit_log)
        made.kubectl("apply", "--server-side", "-f", str(ROOT / "crds"))
        made.kubectl("wait", "--for=condition=Established", "-f", str(ROOT / "crds"), "--timeout=30s")
        made.kubectl("create", "namespace", SYSTEM)
        yield made


@pytest.fixture
def cluster(shared: Cluster) -> Iterator[Cluster]:
    shared.namespace = f"test-{uuid.uuid4().hex[:8]}"
    shared.kubectl("create", "namespace", shared.namespace)
    yield shared
    shared.kubectl("delete", "namespace", shared.namespace, "--wait=false")


@pytest.fixture
def start(cluster: Cluster, tmp_path: Path) -> Iterator[Callable[..., Operator]]:
    """Start an operator, ready when this returns; all are stopped at the end, and their log is shown on failure."""
    started: list[Operator] = []
    log = tmp_path / "operator.log"

    def begin(**environment: str) -> Operator:
        operator = Operator(cluster, log=log, **environment)
        started.append(operator)
        until(operator.ready)
        return operator

    yield begin
    for operator in started:
        operator.stop()
    sys.stdout.write(log.read_text()[-8000:] if log.exists() else "no log")


@pytest.fixture
def router(cluster: Cluster) -> Iterator[Callable[[], str]]:
    """Start the namespace's router as a process that the operator finds behind its pod; gives its base URL."""
    started: list[subprocess.Popen[bytes]] = []

    def begin(**more: str) -> str:
        allow_routers(cluster)
        port = free_ports(1)[0]
        settings = {
            "NAMESPACE": cluster.namespace,
            "LISTEN_HOST": ROUTER_ADDRESS,
            "LISTEN_PORT": str(port),
            "API_SERVER": cluster.plane.server,
            "API_CA": str(cluster.plane.folder / "pki" / "ca.crt"),
            "API_TOKEN": cluster.kubectl("create", "token", "modelfleet-router").strip(),
        }
        environment = {f"MODELFLEET_{name}": value for name, value in settings.items()}
        started.append(
            subprocess.Popen(
                [sys.executable, "-m", "modelfleet.cli.route"],
                cwd=ROOT / "operator",
                env={**os.environ, **environment, **more},
            )
        )
        url = f"http://{ROUTER_ADDRESS}:{port}"
        until(lambda: serves(url))
        router_pod(cluster, "r-1")
        probed(cluster, "r-1", ready=True)
        return url

    yield begin
    for process in started:
        process.send_signal(signal.SIGKILL)
        process.wait(20)


def allow_routers(cluster: Cluster) -> None:
    """The ClusterRole of the chart, which the operator binds the routers of a namespace to."""
    rules = [
        {"apiGroups": [""], "resources": ["configmaps"], "verbs": ["get", "list", "watch"]},
        {"apiGroups": ["discovery.k8s.io"], "resources": ["endpointslices"], "verbs": ["list", "watch"]},
    ]
    role = {"apiVersion": "rbac.authorization.k8s.io/v1", "kind": "ClusterRole", "rules": rules}
    cluster.apply({**role, "metadata": {"name": "modelfleet-router"}})
    until(lambda: "RoleBinding/modelfleet-router" in cluster.children())


def serves(url: str) -> bool:
    """Whether the router at this URL has a table with models."""
    try:
        return httpx.get(f"{url}/v1/models").json()["data"] != []
    except httpx.HTTPError:
        return False
