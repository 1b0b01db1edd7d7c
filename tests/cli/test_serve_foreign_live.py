"""The whole operator as a process beside what others run: an API, a Deployment, an object of our name."""

import contextlib
import socketserver
import ssl
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from e2e.cluster.pki import Authority, Pair
from tests.cli.operator_process import LIMIT_S, Cluster, Operator, cascade, tier, until

pytestmark = pytest.mark.controlplane


def test_a_foreign_object_with_our_name_is_never_touched(cluster: Cluster, start: Callable[..., Operator]):
    start()
    cluster.kubectl("create", "service", "externalname", "small-tier", "--external-name=example.com")
    before = cluster.get("service", "small-tier")

    cluster.apply(tier())
    until(lambda: cluster.conditions("modeltier", "small").get("Stalled") == "True/NameConflict")
    assert cluster.get("service", "small-tier") == before

    cluster.kubectl("delete", "service", "small-tier")
    until(lambda: "Service/small-tier" in cluster.children(), limit_s=LIMIT_S * 2)


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

    def __init__(self, cert: Pair | None = None) -> None:
        super().__init__(("127.0.0.1", 0), Visited)
        self.said = b""
        self.tls = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH) if cert else None
        if cert is not None:
            self.show(cert)
        threading.Thread(target=self.serve_forever, daemon=True).start()

    def show(self, cert: Pair) -> None:
        """From now on this is its certificate."""
        assert self.tls is not None
        self.tls.load_cert_chain(cert.cert, cert.key)

    def stop(self) -> None:
        self.shutdown()
        self.server_close()


@pytest.fixture
def api() -> Iterator[Callable[..., Api]]:
    started: list[Api] = []

    def begin(cert: Pair | None = None) -> Api:
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
    (tmp_path / "stranger").mkdir()
    ours, stranger = Authority(tmp_path), Authority(tmp_path / "stranger")
    bad, good = (each.issue("api", "api", hosts=["127.0.0.1"]) for each in (stranger, ours))
    secure, plain = api(bad), api()
    cluster.configure("capacity: {interval: 1s}\nrouter: {externalAddresses: {allow: [127.0.0.0/8]}}")
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
    router(SSL_CERT_FILE=str(ours.pair.cert))

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
