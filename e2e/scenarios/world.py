"""What a scenario works with: one namespace, its objects, and waits that say what was missing."""

import json
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from e2e.cluster import models
from e2e.demo import install
from e2e.demo.fleet import condition, current
from e2e.demo.kube import CommandFailed, Kube, Manifest, NotSeen, wait_until
from e2e.demo.traffic import Traffic
from modelfleet import names

READY_LIMIT_S = 120.0
SHOWN = ("fleet", "deployments,pods,services,configmaps,endpointslices", "events")


@dataclass
class World:
    """A namespace of its own.  Objects are made from the smallest that work."""

    kube: Kube
    namespace: str
    traffic: list[Traffic] = field(default_factory=list)

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

    def cascade(self, name: str, *tiers: str, **spec: Any) -> None:
        """Apply a Cascade called like its model, over these ModelTiers in order."""
        steps = [{"name": tier, "tierRef": {"name": tier}} for tier in tiers]
        self.apply("Cascade", name, {"modelName": name, "tiers": steps, **spec})

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
        self.wait(f"{kind} {name} is Ready", lambda: current(self.get(kind, name), "Ready"), limit_s=limit_s)

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

    def ask(self, model: str, *, stream: bool = False) -> dict[str, Any]:
        """One chat completion through the router; the answer as `{"status", "tier", "body"}`."""
        body = {
            "model": model,
            "stream": stream,
            "max_tokens": 4,
            "messages": [{"role": "user", "content": "Hi"}],
        }
        url = f"http://modelfleet-router.{self.namespace}.svc/v1/chat/completions"
        answer = self.kube.kubectl(
            "exec", "-n", "clients", "load", "--", "python3", "-c", _ASK, url, json.dumps(body)
        )
        found: dict[str, Any] = json.loads(answer)
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


def seconds_until(seen: Callable[[], bool], *, what: str, limit_s: float) -> float:
    """How long it took; raises NotSeen when it took longer than limit_s."""
    start = time.monotonic()
    wait_until(what, lambda: _calm(seen), limit_s=limit_s)
    return time.monotonic() - start


_ASK = """\
import json, sys, httpx
answer = httpx.post(sys.argv[1], content=sys.argv[2], headers={"content-type": "application/json"}, timeout=60)
print(json.dumps({"status": answer.status_code, "tier": answer.headers.get("x-modelfleet-tier"), "body": answer.text}))
"""
