"""Tiers of the vLLM stand-in, and load that comes at given times: what scenarios about capacity are made of.

A stand-in here is a 70B model in slow motion: a step takes 70 ms, so that many requests are under way while few
tokens a second have to be sent.  One with 32 places gives 460 tokens a second, which is 3.8 answers of 120 tokens.
"""

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from threading import Event, Thread
from typing import Any

from e2e.cluster import models
from e2e.cluster.imageset import RECIPES
from e2e.demo.kube import Manifest
from e2e.demo.traffic import Traffic
from e2e.scenarios.world import World
from modelfleet.control.capacity.observe import epoch_s, ready_since_s
from modelfleet.sim.arrivals import staged

IMAGE = next(recipe.tag for recipe in RECIPES if recipe.name == "vllm-standin")
PROFILE = "70b-h100-tp4"
SPEED = 0.25
PLACES = 32
PROMPT, OUTPUT = 100, 120  # tokens
START_S = 3.0
SAMPLE_S = 2.0  # each costs a tenth of a second of a core
SLO_TTFT_S, SLO_ITL_S = 2.0, 0.1
SLO = {"ttftP95": f"{SLO_TTFT_S:g}s", "itlP95": f"{1000 * SLO_ITL_S:g}ms"}


def tier(
    world: World,
    name: str,
    *,
    start_s: float = START_S,
    places: int = PLACES,
    replicas: int | None = None,
    gpus: int = 1,
    **scaling: Any,
) -> None:
    """Apply a ModelTier of stand-ins: of fixed size with `replicas`, else planned unless `scaling` has metrics."""
    environ = {"STANDIN_PROFILE": PROFILE, "STANDIN_SPEED": f"{SPEED:g}", "STANDIN_START_S": f"{start_s:g}"}
    if not world.exists("persistentvolumeclaim", models.CLAIM):
        world.claim(models.claim(world.namespace))
    size: Manifest = {"replicas": replicas}
    if replicas is None:
        size = {"scaling": {"maxReplicas": 6, "profile": "standin", **scaling}}
    world.tier(
        name,
        model={"uri": f"pvc://{models.CLAIM}/standin"},
        llamaCpp=None,
        vllm={
            "image": IMAGE,
            "maxNumSeqs": places,
            "maxModelLen": 4096,
            "env": [{"name": key, "value": value} for key, value in environ.items()],
        },
        nodePool={"name": "gpu", "count": gpus},
        **size,
    )


def busy(places: int = PLACES) -> list[Manifest]:
    """Metrics for tiers that follow them: three quarters of the places of each replica."""
    return [{"name": "busy", "type": "Concurrency", "target": 3 * places // 4}]


@contextmanager
def load(
    world: World,
    model: str,
    *steps: tuple[float, float],
    output: int = OUTPUT,
    seed: int = 1,
    may_fail: bool = False,
) -> Iterator[Traffic]:
    """Streams at random times for as long as the block lasts, none of which may fail but where that is measured.

    `steps`: (requests per second, seconds), one after another.
    """
    traffic = Traffic(
        world.kube,
        namespace="clients",
        pod="load",
        client="http",
        base_url=f"http://modelfleet-router.{world.namespace}.svc/v1",
        model=model,
    )
    traffic.set(ttft_s=SLO_TTFT_S, itl_s=SLO_ITL_S)
    add(traffic, *steps, output=output, seed=seed)
    try:
        world.wait("load is answered", lambda: traffic.count("finished") > 0)
        yield traffic
    finally:
        report = traffic.finish()
    print(
        {
            name: report[name]
            for name in ("sent", "failed", "good", "lateS", "ttftMedianS", "ttftP95S", "itlP95S")
        }
    )
    assert may_fail or report["failed"] == 0, report["failures"]
    assert report["finished"] == report["sent"] > 0


def add(traffic: Traffic, *steps: tuple[float, float], output: int = OUTPUT, seed: int = 1) -> None:
    """More streams from now on, beside those that were asked for before."""
    came = staged(steps, prompt=PROMPT, output=output, seed=seed)
    traffic.replay([(each.at_s, each.prompt, each.output) for each in came])


def status(world: World, name: str) -> Manifest:
    """Of a ModelTier."""
    found: Manifest = world.get("modeltier", name).get("status", {})
    return found


def wanted(world: World, name: str) -> int:
    """Replicas that the operator has decided on."""
    return int(status(world, name).get("desiredReplicas", 0))


def cold_starts_s(world: World, name: str) -> dict[str, float]:
    """Seconds from its making until it answered, by pod."""
    found = {}
    for pod in world.pods(name):
        since = ready_since_s(pod)
        if since is not None:
            found[pod["metadata"]["uid"]] = since - epoch_s(pod["metadata"]["creationTimestamp"])
    return found


def ready(world: World, name: str) -> int:
    return int(status(world, name).get("readyReplicas", 0))


@dataclass
class Course:
    """A number over time, as sampled: (seconds since the epoch, value)."""

    samples: list[tuple[float, float]] = field(default_factory=list)

    @property
    def seconds(self) -> float:
        return self.samples[-1][0] - self.samples[0][0]

    @property
    def values(self) -> list[float]:
        return [value for _, value in self.samples]

    def integral_s(self) -> float:
        """The value times seconds."""
        pairs = zip(self.samples, self.samples[1:], strict=False)
        return sum(value * (later_s - at_s) for (at_s, value), (later_s, _) in pairs)


@contextmanager
def sampled(*values: Callable[[], float]) -> Iterator[Sequence[Course]]:
    """What these are, over and over while the block runs; a value that cannot be read is left out."""
    courses, done = [Course() for _ in values], Event()

    def work() -> None:
        while not done.wait(SAMPLE_S):
            for value, course in zip(values, courses, strict=True):
                try:
                    found = value()
                except Exception:  # noqa: BLE001, S112  the API server is busy, or the object is not there
                    continue
                course.samples.append((time.time(), found))

    thread = Thread(target=work, daemon=True)
    thread.start()
    try:
        yield courses
    finally:
        done.set()
        thread.join()
