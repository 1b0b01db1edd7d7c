"""The live ModelTiers and Cascades, as two `kubectl get --watch` deliver them, and every decision seen in them."""

import json
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from e2e.demo.kube import Kube, Manifest, NotSeen

KINDS = {"modeltiers": "ModelTier", "cascades": "Cascade"}


@dataclass(frozen=True)
class Decision:
    """One value of lastScale or lastDecision."""

    time: str  # RFC 3339, from the object
    subject: str
    what: str
    reason: str
    message: str


class Fleet:
    """Between `start` and `stop`, `tier` and `cascade` are at most a watch event old."""

    def __init__(self, kube: Kube, namespace: str) -> None:
        self._kube = kube
        self._namespace = namespace
        self._objects: dict[tuple[str, str], Manifest] = {}
        self._changed = threading.Condition()
        self._watches: list[subprocess.Popen[str]] = []
        self.decisions: list[Decision] = []

    def start(self) -> None:
        for plural in KINDS:
            watch = self._kube.popen("get", plural, "-n", self._namespace, "--watch", "-o", "json")
            self._watches.append(watch)
            threading.Thread(target=self._follow, args=(watch,), daemon=True).start()

    def stop(self) -> None:
        for watch in self._watches:
            watch.terminate()
            watch.wait()

    def tier(self, name: str) -> Manifest:
        """The ModelTier as last seen; empty before the first sight of it."""
        return self._objects.get(("ModelTier", name), {})

    def cascade(self, name: str) -> Manifest:
        return self._objects.get(("Cascade", name), {})

    def wait(self, what: str, seen: Callable[[], bool], *, limit_s: float, tick: Callable[[], None]) -> None:
        """Until `seen`, asked after every change and at least twice a second; raises NotSeen after limit_s."""
        deadline = time.monotonic() + limit_s
        while True:
            with self._changed:
                if seen():
                    return
                if time.monotonic() > deadline:
                    raise NotSeen(f"{what}: not seen in {limit_s:.0f} s")
                self._changed.wait(0.5)
            tick()

    def _follow(self, watch: subprocess.Popen[str]) -> None:
        for seen in _json_objects(watch):
            with self._changed:
                self._objects[(seen["kind"], seen["metadata"]["name"])] = seen
                self._remember(seen)
                self._changed.notify_all()

    def _remember(self, seen: Manifest) -> None:
        for decision in (_scale(seen), _weights(seen)):
            if decision and decision not in self.decisions:
                self.decisions.append(decision)


def condition(seen: Manifest, kind: str) -> Manifest:
    """The condition of that type; empty when it is not there."""
    conditions = seen.get("status", {}).get("conditions", [])
    return next((each for each in conditions if each["type"] == kind), {})


def current(seen: Manifest, kind: str) -> bool:
    """Whether the condition is True and about the object's present generation."""
    observed = seen.get("status", {}).get("observedGeneration")
    return condition(seen, kind).get("status") == "True" and observed == seen["metadata"].get("generation")


def weights(cascade: Manifest) -> dict[str, int]:
    """Permille by the step's name; a tier without a decided weight is left out."""
    tiers = cascade.get("status", {}).get("tiers", [])
    return {tier["name"]: tier["weight"] for tier in tiers if "weight" in tier}


def _scale(seen: Manifest) -> Decision | None:
    last = seen.get("status", {}).get("lastScale")
    if seen["kind"] != "ModelTier" or not last:
        return None
    what = f"{last['from']} → {last['to']} replicas"
    return Decision(last["time"], seen["metadata"]["name"], what, last["reason"], last.get("message", ""))


def _weights(seen: Manifest) -> Decision | None:
    last = seen.get("status", {}).get("lastDecision")
    if seen["kind"] != "Cascade" or not last:
        return None
    what = " ".join(f"{name}={weight}" for name, weight in weights(seen).items())
    return Decision(last["time"], seen["metadata"]["name"], what, last["reason"], last.get("message", ""))


def _json_objects(watch: subprocess.Popen[str]) -> Iterator[Any]:
    """The concatenated JSON objects on a watch's standard output."""
    assert watch.stdout is not None
    decoder = json.JSONDecoder()
    text = ""
    for line in watch.stdout:
        text += line
        # kubectl ends every object with a brace in the first column.
        if line.startswith("}"):
            found, end = decoder.raw_decode(text)
            text = text[end:].lstrip()
            yield found
