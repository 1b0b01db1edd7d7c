"""The whole operator as a process against a real API server.  Nothing runs pods here; the garbage collector is real."""

import asyncio
import contextlib
import functools
import json
import os
import signal
import socketserver
import ssl
import subprocess
import sys
import threading
import time
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
import yaml

from e2e.cluster.controlplane import ControlPlane, free_ports
from modelfleet.api.route_table import decode
from tests.router.test_upstream import _certificate

pytestmark = pytest.mark.controlplane
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
    """One operator process."""

    def __init__(self, cluster: Cluster, *, log: Path, **environment: str) -> None:
        self.port = int(environment.get("LISTEN_PORT") or free_ports(1)[0])
        self.identity = f"op-{uuid.uuid4().hex[:6]}"
        settings = {
            "LISTEN_HOST": "127.0.0.1",
            "LISTEN_PORT": str(self.port),
            "IDENTITY": self.identity,
            "NAMESPACE": SYSTEM,
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


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
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


def converged(cluster: Cluster) -> bool:
    """Whether both objects have been visited: every condition is set."""
    wanted = {"Ready", "ResolvedRefs", "WorkloadAvailable"}
    tiers = wanted <= set(cluster.conditions("modeltier", "small"))
    return tiers and {"Ready", "Accepted", "Programmed"} <= set(cluster.conditions("cascade", "chat"))


def quiet(cluster: Cluster) -> None:
    """Wait until the controllers of the cluster itself have nothing more to do either."""
    versions = [cluster.versions(), {}]

    def same() -> bool:
        versions.append(cluster.versions())
        return versions[-1] == versions[-2] == versions[-3]

    until(same)


SMALL_AND_CHAT = [
    "ConfigMap/modelfleet-router-table",
    "Deployment/modelfleet-router",
    "Deployment/small-tier",
    "PodDisruptionBudget/modelfleet-router",
    "RoleBinding/modelfleet-router",
    "Service/modelfleet-router",
    "Service/small-tier",
    "ServiceAccount/modelfleet-router",
    "ServiceAccount/small-tier",
]


def test_children_appear_then_nothing_is_written_then_drift_is_healed(
    cluster: Cluster, start: Callable[..., Operator]
):
    operator = start(RESYNC_S="1")
    cluster.apply(tier(), cascade())
    until(lambda: sorted(cluster.children()) == SMALL_AND_CHAT and converged(cluster))

    # At rest: several resyncs look at everything, and nothing is written.
    quiet(cluster)
    before, seen = len(cluster.writes()), operator.reconciles()
    until(lambda: operator.reconciles() > seen + 12)
    assert cluster.writes()[before:] == []

    # Edits and deletions by others are healed.
    cluster.kubectl("delete", "service", "small-tier")
    cluster.kubectl("scale", "deployment", "small-tier", "--replicas=7")
    cluster.kubectl("label", "deployment", "modelfleet-router", "app.kubernetes.io/managed-by-")
    until(lambda: sorted(cluster.children()) == SMALL_AND_CHAT, limit_s=10)
    until(lambda: cluster.get("deployment", "small-tier")["spec"]["replicas"] == 1, limit_s=10)


def test_the_second_operator_takes_over(cluster: Cluster, start: Callable[..., Operator]):
    first = start(LEASE_NAME=cluster.namespace)
    until(first.leads)
    second = start(LEASE_NAME=cluster.namespace)
    assert not second.leads()

    assert first.stop() == 0
    until(second.leads, limit_s=12)  # Less than the lease lasts: it was released.

    third = start(LEASE_NAME=cluster.namespace)
    second.stop(signal.SIGKILL)
    until(third.leads, limit_s=30)
    cluster.apply(tier())
    until(lambda: "Deployment/small-tier" in cluster.children())


def test_deleting_with_the_operator_down_leaves_nothing(cluster: Cluster, start: Callable[..., Operator]):
    operator = start()
    cluster.apply(tier(), cascade(), cascade("code"))
    until(lambda: sorted(cluster.children()) == SMALL_AND_CHAT and converged(cluster))
    until(lambda: len(cluster.get("deployment", "modelfleet-router")["metadata"]["ownerReferences"]) == 2)
    operator.stop()

    cluster.kubectl("delete", "modeltier/small", "cascade/chat")
    until(lambda: "Deployment/small-tier" not in cluster.children())
    assert "Deployment/modelfleet-router" in cluster.children(), "the other Cascade still needs it"

    cluster.kubectl("delete", "cascade/code")
    until(lambda: cluster.children() == [])


def test_an_operator_killed_half_way_is_continued(cluster: Cluster, start: Callable[..., Operator]):
    operator = start(LEADER_ELECTION="false")
    cluster.apply(*(tier(f"t-{number}") for number in range(20)))
    until(cluster.children)
    operator.stop(signal.SIGKILL)

    start(LEADER_ELECTION="false")
    until(lambda: len([child for child in cluster.children() if child.startswith("Deployment/")]) == 20)
    until(lambda: all("Ready" in cluster.conditions("modeltier", f"t-{number}") for number in range(20)))


def test_a_foreign_object_with_our_name_is_never_touched(cluster: Cluster, start: Callable[..., Operator]):
    start()
    cluster.kubectl("create", "service", "externalname", "small-tier", "--external-name=example.com")
    before = cluster.get("service", "small-tier")

    cluster.apply(tier())
    until(lambda: cluster.conditions("modeltier", "small").get("Stalled") == "True/NameConflict")
    assert cluster.get("service", "small-tier") == before

    cluster.kubectl("delete", "service", "small-tier")
    until(lambda: "Service/small-tier" in cluster.children(), limit_s=LIMIT_S * 2)


def test_paused_and_suspended(cluster: Cluster, start: Callable[..., Operator]):
    start()
    cluster.apply(tier(replicas=2))
    until(lambda: cluster.get("deployment", "small-tier").get("spec", {}).get("replicas") == 2)

    cluster.kubectl("annotate", "modeltier", "small", "modelfleet.dev/paused=true")
    until(lambda: "Paused" in cluster.conditions("modeltier", "small"))
    cluster.apply(
        {**tier(replicas=3), "metadata": {"name": "small", "annotations": {"modelfleet.dev/paused": "true"}}}
    )
    until(lambda: cluster.get("modeltier", "small")["status"].get("observedGeneration") == 2)
    assert cluster.get("deployment", "small-tier")["spec"]["replicas"] == 2

    cluster.kubectl("annotate", "modeltier", "small", "modelfleet.dev/paused-")
    until(lambda: cluster.get("deployment", "small-tier")["spec"]["replicas"] == 3)
    assert "PodDisruptionBudget/small-tier" in cluster.children()

    cluster.kubectl("patch", "modeltier", "small", "--type=merge", "-p", '{"spec":{"suspend":true}}')
    until(lambda: cluster.get("deployment", "small-tier")["spec"]["replicas"] == 0)
    until(lambda: cluster.conditions("modeltier", "small")["Ready"] == "False/Suspended")
    until(lambda: "PodDisruptionBudget/small-tier" not in cluster.children())


def test_settings_are_read_again_without_a_restart(cluster: Cluster, start: Callable[..., Operator]):
    start(SETTINGS_CONFIG_MAP=cluster.namespace)
    cluster.apply(tier(nodePool={"name": "gpu"}))
    until(lambda: cluster.conditions("modeltier", "small").get("ResolvedRefs") == "False/NodePoolNotFound")

    settings = yaml.safe_dump({"nodePools": {"gpu": {"nodeSelector": {"kind": "gpu"}}}})
    cluster.kubectl(
        "create", "configmap", cluster.namespace, "-n", SYSTEM, f"--from-literal=settings.yaml={settings}"
    )
    until(lambda: "Deployment/small-tier" in cluster.children())
    pod = cluster.get("deployment", "small-tier")["spec"]["template"]["spec"]
    assert pod["nodeSelector"] == {"kind": "gpu"}
    until(lambda: cluster.conditions("modeltier", "small").get("ResolvedRefs") == "True/Resolved")


def test_any_valid_name_works(cluster: Cluster, start: Callable[..., Operator]):
    start()
    names = ["7b", "llama-3.1-8b", "x" * 253, f"{'y' * 63}.{'z' * 63}"]
    cluster.apply(*map(tier, names))

    until(lambda: len([child for child in cluster.children() if child.startswith("Service/")]) == len(names))
    until(lambda: all("Ready" in cluster.conditions("modeltier", name) for name in names))


def test_a_namespace_that_goes_away_is_not_fought(cluster: Cluster, start: Callable[..., Operator]):
    start()
    cluster.apply(tier(), cascade())
    until(functools.partial(converged, cluster))

    cluster.kubectl("delete", "namespace", cluster.namespace, "--wait=false")
    gone = ("get", "namespace", cluster.namespace, "--ignore-not-found")
    until(lambda: not cluster.kubectl(*gone), limit_s=90)
    cluster.kubectl("create", "namespace", cluster.namespace)


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


def routers(cluster: Cluster) -> int:
    """Among how many routers the stored table divides what holds for the whole; 0 where there is no table."""
    data = cluster.get("configmap", "modelfleet-router-table").get("data")
    return decode(json.loads(data["table.json"])).rules.routers if data else 0


def counted(cluster: Cluster, want: int) -> bool:
    return routers(cluster) == want


def test_the_route_table_follows_the_routers_that_are_ready(cluster: Cluster, start: Callable[..., Operator]):
    start()
    cluster.apply(tier(), cascade())
    until(lambda: "Deployment/modelfleet-router" in cluster.children())
    assert routers(cluster) == 2, "none is ready: as many as are wanted"
    for name in ("r-1", "r-2", "r-3"):
        router_pod(cluster, name)
    written = len(table_writes(cluster))

    for name, ready, want in (("r-1", True, 1), ("r-2", True, 2), ("r-3", True, 3), ("r-2", False, 2)):
        probed(cluster, name, ready=ready)
        until(functools.partial(counted, cluster, want))
    cluster.kubectl("delete", "pod", "r-3", "--grace-period=0", "--force")
    until(lambda: routers(cluster) == 1)

    # Once for each number: 1 (2 was there), 2, 3, 2, 1.
    assert len(table_writes(cluster)) - written == 5


def table_writes(cluster: Cluster) -> list[str]:
    return [write for write in cluster.writes() if "/configmaps/modelfleet-router-table" in write]


SLEEPY = {
    "minReplicas": 0,
    "maxReplicas": 3,
    "metrics": [{"name": "busy", "type": "Concurrency", "target": 4}],
    "idle": {"after": "3s"},
}


@pytest.fixture
def router(cluster: Cluster) -> Iterator[Callable[[], str]]:
    """Start the namespace's router as a process that the operator finds behind its pod; gives its base URL."""
    started: list[subprocess.Popen[bytes]] = []

    def begin(**more: str) -> str:
        rules = [
            {"apiGroups": [""], "resources": ["configmaps"], "verbs": ["get", "list", "watch"]},
            {
                "apiGroups": ["discovery.k8s.io"],
                "resources": ["endpointslices"],
                "verbs": ["list", "watch"],
            },
        ]
        role = {"apiVersion": "rbac.authorization.k8s.io/v1", "kind": "ClusterRole", "rules": rules}
        cluster.apply({**role, "metadata": {"name": "modelfleet-router"}})
        until(lambda: "RoleBinding/modelfleet-router" in cluster.children())
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

        def serves() -> bool:
            try:
                return httpx.get(f"{url}/v1/models").json()["data"] != []
            except httpx.HTTPError:
                return False

        until(serves)
        router_pod(cluster, "r-1")
        probed(cluster, "r-1", ready=True)
        return url

    yield begin
    for process in started:
        process.send_signal(signal.SIGKILL)
        process.wait(20)


def asleep(cluster: Cluster) -> bool:
    return (
        cluster.conditions("modeltier", "small").get("Cold") == "True/Idle"
        and cluster.get("deployment", "small-tier")["spec"]["replicas"] == 0
    )


def woken_after_s(cluster: Cluster, url: str) -> float:
    """Seconds from a request to the decision to have a replica for it; the request is given up then."""

    async def ask() -> float:
        async with httpx.AsyncClient(timeout=LIMIT_S) as client:
            body = {"model": "chat", "stream": True, "messages": [{"role": "user", "content": "hi"}]}
            began_s = time.monotonic()
            waits = asyncio.create_task(client.post(f"{url}/v1/chat/completions", json=body))
            seen = asyncio.to_thread(
                until, lambda: cluster.get("modeltier", "small")["status"]["desiredReplicas"] == 1
            )
            await seen
            took_s = time.monotonic() - began_s
            assert not waits.done(), "it waits for the first replica"
            waits.cancel()
            return took_s

    return asyncio.run(ask())


def test_a_tier_sleeps_and_is_woken_by_a_request(
    cluster: Cluster, start: Callable[..., Operator], router: Callable[[], str]
):
    ports = free_ports(2)
    cluster.kubectl("-n", SYSTEM, "delete", "lease", "--all")
    settings = {"settings.yaml": "capacity: {interval: 1s}"}
    meta = {"name": "modelfleet-settings", "namespace": SYSTEM}
    cluster.kubectl(
        "-n", SYSTEM, "apply", "-f", "-",
        stdin=json.dumps({"apiVersion": "v1", "kind": "ConfigMap", "metadata": meta, "data": settings}),
    )  # fmt: skip
    wake = json.dumps([f"127.0.0.1:{port}" for port in ports])
    leader, _ = (start(LISTEN_PORT=str(port), WAKE_ADDRESSES=wake) for port in ports)
    cluster.apply(tier(scaling=SLEEPY), cascade())
    url = router()
    until(functools.partial(asleep, cluster))
    assert cluster.conditions("modeltier", "small")["Ready"] == "True/ScaledToZero"
    assert cluster.conditions("cascade", "chat")["TiersReady"] == "True/TiersReady"

    sys.stdout.write(f"from a request to the decision: {woken_after_s(cluster, url):.3f} s\n")
    until(lambda: cluster.get("deployment", "small-tier")["spec"]["replicas"] == 1)
    assert cluster.get("modeltier", "small")["status"]["lastScale"]["reason"] == "WokenUp"
    assert cluster.conditions("modeltier", "small")["Cold"] == "True/WokenUp"

    # Nobody asked again: it sleeps as long after it woke.  Then the one who leads goes, and the other one wakes it.
    until(functools.partial(asleep, cluster))
    leader.stop()
    sys.stdout.write(f"while leaders change: {woken_after_s(cluster, url):.3f} s\n")
    until(lambda: cluster.get("deployment", "small-tier")["spec"]["replicas"] == 1)


async def ask_at_once(url: str, requests: int, until_true: Callable[[], bool]) -> None:
    """So many requests that wait, until something is seen."""
    async with httpx.AsyncClient(timeout=LIMIT_S) as client:
        body = {"model": "chat", "stream": True, "messages": [{"role": "user", "content": "hi"}]}
        asked = [
            asyncio.create_task(client.post(f"{url}/v1/chat/completions", json=body)) for _ in range(requests)
        ]
        await asyncio.to_thread(until, until_true)
        for one in asked:
            one.cancel()


def test_without_a_metrics_store_what_the_router_tells_is_scaled_by(
    cluster: Cluster, start: Callable[..., Operator], router: Callable[[], str]
):
    operator = start()
    cluster.apply(tier(scaling=SLEEPY), cascade())
    url = router()
    until(functools.partial(asleep, cluster))

    def grown() -> bool:
        return cluster.get("modeltier", "small")["status"].get("desiredReplicas") == 3

    asyncio.run(ask_at_once(url, 9, grown))

    status = cluster.get("modeltier", "small")["status"]
    (active,) = (one for one in status["conditions"] if one["type"] == "ScalingActive")
    assert status["lastScale"]["reason"] == "ConcurrencyAboveTarget"
    assert active["message"].endswith("as routers and engines tell directly")
    answer = operator.ask("/metrics")
    assert answer is not None
    assert 'modelfleet_operator_metrics_source{source="Direct"} 1.0' in answer.text
    assert "modelfleet_operator_prometheus_query_errors_total 0.0" in answer.text


def test_a_forged_call_wakes_nothing_else(cluster: Cluster, start: Callable[..., Operator]):
    operator = start()
    cluster.apply(tier(), tier("alone", scaling={**SLEEPY, "idle": {}}, replicas=0))
    until(lambda: cluster.conditions("modeltier", "alone").get("Cold") == "True/Idle")

    for name in ("small", "alone", "nobody"):
        call = {"namespace": cluster.namespace, "modelTier": name}
        answer = httpx.post(f"http://127.0.0.1:{operator.port}/wake", json=call)
        assert (answer.status_code, answer.json()) == (404, {"outcome": "NotAsleep"})
    assert cluster.get("modeltier", "alone")["status"]["desiredReplicas"] == 0


class Visited(socketserver.BaseRequestHandler):
    """Takes a connection, with TLS where its server has a certificate, and waits for its end."""

    server: "Api"

    def handle(self) -> None:
        with contextlib.suppress(OSError):
            if self.server.tls is not None:
                self.request = self.server.tls.wrap_socket(self.request, server_side=True)
            while said := self.request.recv(4096):
                self.server.said += said


class Api(socketserver.ThreadingTCPServer):
    """Somebody else's API, which nobody should ask anything here."""

    daemon_threads = True

    def __init__(self, cert: tuple[Path, Path] | None = None) -> None:
        super().__init__(("127.0.0.1", 0), Visited)
        self.said = b""
        self.tls = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH) if cert else None
        if cert is not None:
            self.show(cert)
        threading.Thread(target=self.serve_forever, daemon=True).start()

    def show(self, cert: tuple[Path, Path]) -> None:
        """From now on this is its certificate."""
        assert self.tls is not None
        self.tls.load_cert_chain(*cert)

    def stop(self) -> None:
        self.shutdown()
        self.server_close()


@pytest.fixture
def api() -> Iterator[Callable[..., Api]]:
    started: list[Api] = []

    def begin(cert: tuple[Path, Path] | None = None) -> Api:
        started.append(Api(cert))
        return started[-1]

    yield begin
    for each in started:
        each.stop()


def weights(cluster: Cluster) -> list[int]:
    found = cluster.get("cascade", "chat").get("status", {}).get("tiers", [])
    return [each.get("weight", 0) for each in found]


def test_an_api_with_a_bad_certificate_gets_no_entries_until_it_is_good(
    cluster: Cluster,
    start: Callable[..., Operator],
    router: Callable[..., str],
    api: Callable[..., Api],
    tmp_path: Path,
):
    folders = [tmp_path / name for name in ("bad", "good")]
    for folder in folders:
        folder.mkdir()
    bad, good = (_certificate(folder, address="127.0.0.1") for folder in folders)
    secure, plain = api(bad), api()
    cluster.kubectl("-n", SYSTEM, "delete", "lease", "--all")
    settings = "capacity: {interval: 1s}\nrouter: {externalAddresses: {allow: [127.0.0.0/8]}}"
    meta = {"name": "modelfleet-settings", "namespace": SYSTEM}
    cluster.kubectl(
        "-n", SYSTEM, "apply", "-f", "-",
        stdin=json.dumps({"apiVersion": "v1", "kind": "ConfigMap", "metadata": meta, "data": {"settings.yaml": settings}}),
    )  # fmt: skip
    start()
    for name, url in (
        ("secure", f"https://127.0.0.1:{secure.server_address[1]}/v1"),
        ("plain", f"http://127.0.0.1:{plain.server_address[1]}/v1"),
    ):
        spec = {"external": {"baseURL": url, "model": "m"}}
        cluster.apply({**tier(name), "spec": spec})
    halves = cascade("chat", "plain", "secure")
    for step in halves["spec"]["tiers"]:
        step["weight"] = {"initial": 50}
    cluster.apply(halves)
    router(SSL_CERT_FILE=str(good[0]))

    until(lambda: cluster.conditions("modeltier", "secure")["Ready"] == "False/TLSFailed")
    until(lambda: weights(cluster) == [1000, 0])
    assert cluster.conditions("modeltier", "plain")["Ready"] == "True/External"
    until(lambda: cluster.conditions("cascade", "chat")["TiersReady"] == "False/SomeTiersNotReady")
    assert cluster.get("cascade", "chat")["status"]["ready"] == "1/2"

    secure.show(good)
    until(lambda: cluster.conditions("modeltier", "secure")["Ready"] == "True/External")
    until(lambda: cluster.conditions("cascade", "chat")["TiersReady"] == "True/TiersReady")
    until(lambda: min(weights(cluster), default=0) > 0)
    assert (secure.said, plain.said) == (b"", b""), "nobody was asked anything to find that out"


def theirs(replicas: int) -> list[dict[str, Any]]:
    labels = {"app": "qwen"}
    pod = {"metadata": {"labels": labels}, "spec": {"containers": [{"name": "x", "image": "example/x"}]}}
    runs = {"replicas": replicas, "selector": {"matchLabels": labels}, "template": pod}
    ports = {"selector": labels, "ports": [{"name": "api", "port": 8000}]}
    metadata = {"name": "qwen"}
    return [
        {"apiVersion": "apps/v1", "kind": "Deployment", "metadata": metadata, "spec": runs},
        {"apiVersion": "v1", "kind": "Service", "metadata": metadata, "spec": ports},
    ]


def test_a_workload_of_somebody_else_s_is_scaled_and_nothing_else(
    cluster: Cluster, start: Callable[..., Operator]
):
    def runs() -> int:
        found: int = cluster.get("deployment", "qwen")["spec"]["replicas"]
        return found

    target = {"apiVersion": "apps/v1", "kind": "Deployment", "name": "qwen"}
    existing = {"engine": "vllm", "serviceRef": {"name": "qwen"}, "scaleTargetRef": target}
    adopted = tier(llamaCpp=None, model={"servedName": "qwen"}, existing=existing)
    busy = {"maxReplicas": 4, "metrics": [{"name": "busy", "type": "Concurrency", "target": 4}]}
    cluster.kubectl("-n", SYSTEM, "delete", "lease", "--all")
    cluster.apply(*theirs(3))
    start()

    cluster.apply(adopted)
    until(lambda: cluster.get("modeltier", "small").get("status", {}).get("existing") is not None)
    assert cluster.get("modeltier", "small")["status"]["existing"] == {"portName": "api", "replicas": 3}
    cluster.apply({**adopted, "spec": {**adopted["spec"], "scaling": busy}})
    until(lambda: cluster.get("modeltier", "small")["status"].get("desiredReplicas") == 3)
    assert runs() == 3
    cluster.apply({**adopted, "spec": {**adopted["spec"], "scaling": {**busy, "maxReplicas": 2}}})
    until(lambda: runs() == 2)
    cluster.kubectl("delete", "modeltier", "small")
    until(lambda: not cluster.get("modeltier", "small"))

    assert runs() == 2
    where = f"/namespaces/{cluster.namespace}"
    touched = {write.partition("?")[0] for write in cluster.writes()} - {f"create /api/v1{where}/events"}
    assert touched == {
        f"patch /apis/modelfleet.dev/v1alpha1{where}/modeltiers/small/status",
        f"update /apis/apps/v1{where}/deployments/qwen/scale",
    }
