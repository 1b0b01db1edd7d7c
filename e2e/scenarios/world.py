"""What a scenario works with: one namespace, its objects, and waits that say what was missing."""

import json
import subprocess
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from prometheus_client.parser import text_string_to_metric_families

from e2e.cluster import models
from e2e.demo import install
from e2e.demo.ask import Answer, ask_all
from e2e.demo.fleet import condition, current
from e2e.demo.kube import CommandFailed, Kube, Manifest, NotSeen, wait_until
from e2e.demo.traffic import Traffic
from modelfleet import names

READY_LIMIT_S = 120.0
TEMPLATE = "{% for m in messages %}Question: {{ m.content }}\nAnswer:{% endfor %}"
SHOWN = ("fleet", "deployments,pods,services,configmaps,endpointslices", "events")


@dataclass
class World:
    """A namespace of its own.  Objects are made from the smallest that work."""

    kube: Kube
    namespace: str
    _reached: bool = False  # its router, by a client

    def tier(self, name: str, **spec: Any) -> None:
        """Apply a ModelTier that serves SmolLM2 from the hub, with `spec` laid over it."""
        small = {
            "model": {"uri": f"hf://{install.SMALL_REPOSITORY}", "file": models.SMALL},
            "llamaCpp": {"contextLength": 2048, "slots": 2, "threads": 1},
            "nodePool": {"name": "cpu"},
            "rollout": {"drainTimeout": "30s"},
        }
        self.apply(
            "ModelTier", name, {key: value for key, value in {**small, **spec}.items() if value is not None}
        )

    def larger_tier(self, name: str, **spec: Any) -> None:
        """Apply a ModelTier that serves Gemma, twice the size and a base model, which needs a template for chats."""
        engine = {"contextLength": 2048, "slots": 2, "threads": 1, "args": ["--chat-template", TEMPLATE]}
        model = {"uri": f"hf://{install.MEDIUM_REPOSITORY}", "file": models.MEDIUM}
        self.tier(name, model=model, llamaCpp=engine, **spec)

    def external_tier(self, name: str, *, price: Manifest | None = None, **spec: Any) -> None:
        """Apply a ModelTier that is the paid API of namespace frontier; `spec` is of its `external`."""
        self.kube.apply([self._copied("secret", "frontier-key"), self._copied("configmap", "frontier-ca")])
        api = {
            "baseURL": f"https://{install.FRONTIER_HOST}/v1",
            "model": "frontier-1",
            "apiKeySecretRef": {"name": "frontier-key", "key": "token"},
            "caConfigMapRef": {"name": "frontier-ca", "key": "ca.crt"},
        }
        self.apply("ModelTier", name, {"external": {**api, **spec}, **({"price": price} if price else {})})

    def _copied(self, kind: str, name: str) -> Manifest:
        """An object of the demo's namespace, as one of ours."""
        found = self.kube.get(kind, name, namespace=install.NAMESPACE)
        return {**found, "metadata": {"name": name, "namespace": self.namespace}}

    def cascade(self, name: str, *tiers: str, accept: str | None = None, **spec: Any) -> None:
        """Apply a Cascade called like its model, over these ModelTiers in order.

        `accept`: the lowest mean log probability that any but the last of them may send.
        """
        steps: list[Manifest] = [{"name": tier, "tierRef": {"name": tier}} for tier in tiers]
        for step in steps[:-1] if accept is not None else ():
            step["accept"] = {"signal": "MeanLogprob", "threshold": accept}
        self.apply("Cascade", name, {"modelName": name, "tiers": steps, **spec})

    def claim(self, objects: Sequence[Manifest]) -> None:
        """Apply a volume and its claim.  A volume outlives its namespace, and belongs to the claim it had there."""
        volumes = [each["metadata"]["name"] for each in objects if each["kind"] == "PersistentVolume"]
        self.kubectl("delete", "persistentvolume", *volumes, "--ignore-not-found")
        self.kube.apply(objects)

    def apply(self, kind: str, name: str, spec: Manifest) -> None:
        metadata = {"name": name, "namespace": self.namespace}
        manifest = {"apiVersion": names.API_VERSION, "kind": kind, "metadata": metadata, "spec": spec}
        self.kubectl("apply", "-f", "-", stdin=json.dumps(manifest))

    def kubectl(self, *args: str, stdin: str | None = None) -> str:
        return self.kube.kubectl("-n", self.namespace, *args, stdin=stdin)

    def get(self, kind: str, name: str) -> Manifest:
        return self.kube.get(kind, name, namespace=self.namespace)

    def exists(self, kind: str, name: str) -> bool:
        return bool(self.kubectl("get", kind, name, "--ignore-not-found", "-o", "name").strip())

    def objects(self, kind: str, selector: str = "") -> list[Manifest]:
        return self.kube.list(kind, namespace=self.namespace, selector=selector)

    def pods(self, tier: str) -> list[Manifest]:
        return self.objects("pods", f"{names.LABEL_TIER}={names.tier_child(tier)}")

    def wait(self, what: str, seen: Callable[[], bool], *, limit_s: float = READY_LIMIT_S) -> None:
        wait_until(what, lambda: _calm(seen), limit_s=limit_s)

    def wait_exists(self, kind: str, name: str) -> None:
        self.wait(f"{kind} {name} exists", lambda: self.exists(kind, name))

    def wait_ready(self, kind: str, name: str, *, limit_s: float = READY_LIMIT_S) -> None:
        """Until it says so and, of a Cascade, until clients reach its router through the Service."""
        self.wait(f"{kind} {name} is Ready", lambda: current(self.get(kind, name), "Ready"), limit_s=limit_s)
        # A Service's address refuses connections until kube-proxy has caught up with the first router.
        if kind == "cascade" and not self._reached and self.exists("service", names.SHARED_ROUTER):
            self.wait("the router is reached", lambda: self.ask("nobody").status != 0)
            self._reached = True

    def wait_condition(
        self, kind: str, name: str, type_: str, status: str, reason: str, *, says: str = ""
    ) -> None:
        """Until the condition has this status and reason, and its message contains `says`."""
        last: Manifest = {}

        def seen() -> bool:
            last.clear()
            last.update(condition(self.get(kind, name), type_))
            same = (last.get("status"), last.get("reason")) == (status, reason)
            return same and says in last.get("message", "")

        try:
            self.wait(f"{kind} {name}: {type_}={status}, {reason}", seen, limit_s=READY_LIMIT_S)
        except NotSeen as err:
            raise NotSeen(f"{err}; it was {last}") from None

    def kill(self, tier: str) -> None:
        """End the tier's pods as a node that dies does: without a word."""
        selector = f"{names.LABEL_TIER}={names.tier_child(tier)}"
        self.kubectl("delete", "pods", "-l", selector, "--grace-period=0", "--force")

    @contextmanager
    def load(self, model: str, **settings: float) -> Iterator[Traffic]:
        """Requests for as long as the block lasts; at its end none may have failed."""
        base_url = f"http://modelfleet-router.{self.namespace}.svc/v1"
        traffic = Traffic(
            self.kube, namespace="clients", pod="load", client="http", base_url=base_url, model=model
        )
        traffic.set(**settings)
        try:
            self.wait("load is answered", lambda: traffic.count("finished") > 0)
            yield traffic
        finally:
            report = traffic.finish()
        assert report["failed"] == 0, report["failures"]
        assert report["finished"] == report["sent"] > 0

    def ask(self, model: str, question: str = "Hi", **fields: Any) -> Answer:
        """One chat completion through the router; `headers` are the request's, other `fields` go into its body."""
        return self.ask_all([{"model": model, "question": question, **fields}])[0]

    def ask_all(self, requests: list[dict[str, Any]], *, at_once: int = 1) -> list[Answer]:
        """Many of them, `at_once` at the same time; the answers in the order of the requests."""
        return ask_all(self.kube, self.namespace, requests, at_once=at_once)

    def left_the_cluster(self) -> str:
        """All that the API of `external_tier` was ever sent."""
        ask = 'curl -sk -H "Authorization: Bearer $(cat /key/token)" https://127.0.0.1:8443/seen'
        return self.kube.kubectl(
            "exec", "-n", "frontier", "deployment/api", "-c", "door", "--", "sh", "-c", ask
        )

    def metric(self, name: str, **labels: str) -> float:
        """The sum over all routers of all samples of this name that have these labels.

        A router that goes may still count, and its address stops answering at any moment: so it is waited for.
        """
        selector = f"{names.LABEL_COMPONENT}=router"
        self.wait("no router goes", lambda: not self._going(selector))
        return self._scraped(selector, names.ROUTER_METRICS_PORT, name, labels)

    def engine_metric(self, tier: str, name: str) -> float:
        """The same over all engines of a tier, without those that go."""
        return self._scraped(f"{names.LABEL_TIER}={names.tier_child(tier)}", names.ENGINE_PORT, name, {})

    def _going(self, selector: str) -> list[Manifest]:
        return [pod for pod in self.objects("pods", selector) if "deletionTimestamp" in pod["metadata"]]

    def _scraped(self, selector: str, port: int, name: str, labels: dict[str, str]) -> float:
        total = 0.0
        for pod in self.objects("pods", selector):
            if "deletionTimestamp" in pod["metadata"]:
                continue
            path = f"/api/v1/namespaces/{self.namespace}/pods/{pod['metadata']['name']}:{port}/proxy/metrics"
            families = text_string_to_metric_families(self.kubectl("get", "--raw", path))
            samples = [sample for family in families for sample in family.samples if sample.name == name]
            total += sum(sample.value for sample in samples if labels.items() <= sample.labels.items())
        return total

    def router_tables(self) -> list[dict[str, Any]]:
        """What each router believes: see router/debug.py."""
        found = []
        for pod in self.objects("pods", f"{names.LABEL_COMPONENT}=router"):
            address = f"{pod['metadata']['name']}:{names.ROUTER_METRICS_PORT}"
            path = f"/api/v1/namespaces/{self.namespace}/pods/{address}/proxy/debug/table"
            found.append(json.loads(self.kubectl("get", "--raw", path)))
        return found

    def told(self) -> str:
        """Everything somebody needs who asks why a scenario failed."""
        commands = [
            ("get", *SHOWN[:1], "-o", "yaml"),
            ("get", SHOWN[1], "-o", "wide"),
            ("get", SHOWN[2], "--sort-by=.lastTimestamp"),
            (
                "logs",
                "-l",
                f"{names.LABEL_PART_OF}={names.MANAGER}",
                "--all-containers",
                "--prefix",
                "--tail=30",
            ),
            (
                "logs",
                "-n",
                install.SYSTEM,
                "-l",
                "app.kubernetes.io/component=operator",
                "--prefix",
                "--tail=80",
            ),
        ]
        return "\n".join(f"--- kubectl {' '.join(args)}\n{self._try(*args)}" for args in commands)

    def _try(self, *args: str) -> str:
        try:
            return self.kubectl(*args)
        except (CommandFailed, subprocess.TimeoutExpired) as err:
            return str(err)


def _calm(seen: Callable[[], bool]) -> bool:
    """Not there yet is not an error."""
    try:
        return seen()
    except (CommandFailed, KeyError, IndexError):
        return False


def operators(kube: Kube) -> list[str]:
    """Names of the operator's pods."""
    pods = kube.list("pods", namespace=install.SYSTEM, selector="app.kubernetes.io/component=operator")
    return [pod["metadata"]["name"] for pod in pods if not pod["metadata"].get("deletionTimestamp")]


def leader(kube: Kube) -> str:
    """Who holds the operator's Lease; empty when nobody does."""
    lease = kube.get("lease", install.RELEASE, namespace=install.SYSTEM)
    return str(lease["spec"].get("holderIdentity") or "")


@contextmanager
def no_operator(kube: Kube) -> Iterator[None]:
    """None runs before the block ends."""
    scale = ("-n", install.SYSTEM, "scale", f"deployment/{install.RELEASE}")
    before = kube.get("deployment", install.RELEASE, namespace=install.SYSTEM)["spec"]["replicas"]
    kube.kubectl(*scale, "--replicas=0")
    try:
        wait_until("no operator is left", lambda: not operators(kube), limit_s=READY_LIMIT_S)
        yield
    finally:
        kube.kubectl(*scale, f"--replicas={before}")
    install.wait_for_deployments(kube, (install.SYSTEM, install.RELEASE), limit_s=READY_LIMIT_S)


def seconds_until(seen: Callable[[], bool], *, what: str, limit_s: float) -> float:
    """How long it took; raises NotSeen when it took longer than limit_s."""
    start = time.monotonic()
    wait_until(what, lambda: _calm(seen), limit_s=limit_s)
    return time.monotonic() - start
