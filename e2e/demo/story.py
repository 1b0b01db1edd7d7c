"""The scenes of the demo, in order.  Each raises NotSeen when what it shows does not happen."""

from collections.abc import Callable
from dataclasses import dataclass

from e2e.demo import install
from e2e.demo.ask import ask_all
from e2e.demo.console import Voice
from e2e.demo.fleet import Fleet, condition, current, weights
from e2e.demo.kube import Kube, NotSeen
from e2e.demo.traffic import Traffic

SMALL, MEDIUM, FRONTIER, CASCADE = "smollm2-135m", "gemma3-270m", "frontier", "chat"
STEPS = ("small", "medium", "frontier")
CAREFUL = "careful"
# Greedy answers of SmolLM2-135M: mean log probability -0.25 ("1. 1, 2. 2 …"), and -1.1 ("L'Étoile, la Marseillaise …").
SURE, UNSURE = "Count from one to five.", "What is the capital of France?"
SHOWN = ("x-modelfleet-tier", "x-modelfleet-escalations", "x-modelfleet-score")
HTTP_OK = 200
CALM_CONCURRENCY = 1
BUSY_CONCURRENCY = 14
STEADY_CONCURRENCY = 4
PLAIN_CONCURRENCY = 8
KILLS_MAX = 3
READY_LIMIT_S = 240.0
SCALE_LIMIT_S = 150.0
WEIGHTS_LIMIT_S = 60.0
RESTORED_LIMIT_S = 120.0


@dataclass
class Stage:
    """What every scene works with."""

    kube: Kube
    fleet: Fleet
    voice: Voice
    traffic: list[Traffic]

    @property
    def load(self) -> Traffic:
        """The generator whose concurrency the scenes change; the other is the official client."""
        return self.traffic[0]

    def wait(self, what: str, seen: Callable[[], bool], *, limit_s: float) -> None:
        """Until `seen`, with a moving line; also raises NotSeen when a load generator died."""
        with self.voice.waiting(what):
            self.fleet.wait(what, seen, limit_s=limit_s, tick=lambda: self._tick(what))
        self.voice.seen(what)

    def total(self, name: str) -> int:
        return sum(traffic.count(name) for traffic in self.traffic)

    def answered(self) -> dict[str, int]:
        """Answers by the step that gave them."""
        by_step: dict[str, int] = {}
        for traffic in self.traffic:
            for step, count in traffic.report.get("tiers", {}).items():
                by_step[step] = by_step.get(step, 0) + count
        return by_step

    def streams_at(self, step: str) -> int:
        """Streams that this step is answering at the moment."""
        return sum(int(traffic.report.get("open", {}).get(step, 0)) for traffic in self.traffic)

    def _tick(self, what: str) -> None:
        for traffic in self.traffic:
            traffic.check()
        small = self.fleet.tier(SMALL).get("status", {})
        shown = " ".join(f"{name}={weight}" for name, weight in weights(self.fleet.cascade(CASCADE)).items())
        sent = f"sent {self.total('sent')}, failed {self.total('failed')}" if self.traffic else ""
        self.voice.progress(f"{what} …  small tier {small.get('ready', '?')}  {shown}  {sent}")


def become_ready(stage: Stage) -> None:
    """Every object of the example says Ready for its present generation."""
    for name in (SMALL, MEDIUM, FRONTIER):
        stage.wait(
            f"ModelTier {name} is Ready",
            lambda name=name: current_tier(stage, name),  # type: ignore[misc]
            limit_s=READY_LIMIT_S,
        )
    for name in (CASCADE, CAREFUL):
        stage.wait(
            f"Cascade {name} is Ready",
            lambda name=name: current_cascade(stage, name),  # type: ignore[misc]
            limit_s=READY_LIMIT_S,
        )


def current_tier(stage: Stage, name: str) -> bool:
    seen = stage.fleet.tier(name)
    return bool(seen) and current(seen, "Ready")


def current_cascade(stage: Stage, name: str) -> bool:
    seen = stage.fleet.cascade(name)
    return bool(seen) and current(seen, "Ready")


def escalate(stage: Stage) -> None:
    """A question that the small model can answer, and one that it cannot: the larger one answers that."""
    questions = [{"model": CAREFUL, "question": text, "max_tokens": 24} for text in (SURE, UNSURE)]
    with stage.voice.waiting(f"asking {CAREFUL}"):
        answers = ask_all(stage.kube, install.NAMESPACE, questions)
    for question, answer in zip((SURE, UNSURE), answers, strict=True):
        if answer.status != HTTP_OK:
            raise NotSeen(f"an answer of {CAREFUL}: it was {answer.status} {answer.body}")
        shown = [f"{name}: {value}" for name, value in answer.headers.items() if name in SHOWN]
        stage.voice.say(f"{question}  →  {answer.text.strip().splitlines()[0]!r} …")
        stage.voice.say("   ".join(shown))
    if [(answer.tier, answer.escalations) for answer in answers] != [("small", 0), ("medium", 1)]:
        raise NotSeen("the small model was not sure of the one and unsure of the other")
    stage.voice.seen("the small model answered what it was sure of; the larger one the rest")


def answers(stage: Stage) -> None:
    """Both clients get whole and streamed answers, and see which tier gave them."""
    for traffic in stage.traffic:
        traffic.set(concurrency=CALM_CONCURRENCY, streams=50, max_tokens=16)
    stage.wait(
        "both clients get plain and streamed answers from the small and the medium tier",
        lambda: (
            all(_has_samples(traffic) for traffic in stage.traffic)
            and {"small", "medium"} <= set(stage.answered())
        ),
        limit_s=READY_LIMIT_S,
    )
    for traffic in stage.traffic:
        for kind, sample in sorted(traffic.report["samples"].items()):
            stage.voice.say(f"{traffic.client:6}  {kind:16} {sample['text']!r}")


def _has_samples(traffic: Traffic) -> bool:
    kinds = {sample.split()[-1] for sample in traffic.report.get("samples", {})}
    return {"plain", "stream"} <= kinds


def scale_up(stage: Stage) -> None:
    """More load than one replica can take: Prometheus sees it, the operator answers with two more."""
    stage.load.set(concurrency=BUSY_CONCURRENCY)
    stage.wait(
        "the operator wants 3 replicas of the small tier", lambda: desired(stage) == 3, limit_s=SCALE_LIMIT_S
    )
    last = stage.fleet.tier(SMALL)["status"]["lastScale"]
    stage.voice.say(f"lastScale: {last['from']} → {last['to']}, {last['reason']}: {last.get('message', '')}")
    active = condition(stage.fleet.tier(SMALL), "ScalingActive")
    if active.get("status") != "True":
        raise NotSeen(f"the small tier scaled, but not from measurements: ScalingActive is {active}")
    stage.wait("3 replicas of the small tier are ready", lambda: ready(stage) == 3, limit_s=SCALE_LIMIT_S)


def desired(stage: Stage) -> int | None:
    found: int | None = stage.fleet.tier(SMALL).get("status", {}).get("desiredReplicas")
    return found


def ready(stage: Stage) -> int | None:
    found: int | None = stage.fleet.tier(SMALL).get("status", {}).get("readyReplicas")
    return found


def lose_medium_gracefully(stage: Stage) -> None:
    """All pods of the medium tier are deleted while they stream."""
    stage.load.set(concurrency=STEADY_CONCURRENCY, streams=100, max_tokens=24)
    stage.wait("the medium tier has its weight", lambda: restored(stage), limit_s=RESTORED_LIMIT_S)
    stage.wait(
        "the medium tier is streaming", lambda: stage.streams_at("medium") > 0, limit_s=WEIGHTS_LIMIT_S
    )
    _delete_medium(stage, "--wait=false")
    _watch_weights_move(stage, "deleted while it streams")


def lose_medium_hard(stage: Stage) -> None:
    """All pods of the medium tier are killed while they work on plain requests."""
    # Enough to keep the small tier above one replica, so that the last scene has something to take away.
    stage.load.set(concurrency=PLAIN_CONCURRENCY)
    for traffic in stage.traffic:
        traffic.set(streams=0)
    # What a stream has sent cannot be taken back, so nobody can save one from a kill.
    stage.wait(
        "every stream has ended",
        lambda: not any(traffic.has_streams for traffic in stage.traffic),
        limit_s=RESTORED_LIMIT_S,
    )
    before = stage.total("retried")
    for attempt in range(KILLS_MAX):
        finished = stage.total("finished")
        stage.wait(
            "plain requests are under way",
            lambda finished=finished: stage.total("finished") > finished,  # type: ignore[misc]
            limit_s=WEIGHTS_LIMIT_S,
        )
        _delete_medium(stage, "--grace-period=0", "--force")
        _watch_weights_move(stage, "killed")
        if stage.total("retried") > before:
            stage.voice.seen(
                f"{stage.total('retried') - before} requests were answered by another pod instead"
            )
            return
        if attempt + 1 < KILLS_MAX:
            stage.voice.say("no request was in its hands when it was killed; once more")
    raise NotSeen("no kill of the medium tier met a request")


def _delete_medium(stage: Stage, *how: str) -> None:
    selector = stage.fleet.tier(MEDIUM)["status"]["selector"]
    stage.kube.kubectl("delete", "pods", "-n", install.NAMESPACE, "-l", selector, *how)
    stage.voice.say(f"kubectl delete pods -l {selector} {' '.join(how)}")


def _watch_weights_move(stage: Stage, how: str) -> None:
    stage.wait(
        f"the medium tier, {how}, has weight 0",
        lambda: weights(stage.fleet.cascade(CASCADE)).get("medium") == 0,
        limit_s=WEIGHTS_LIMIT_S,
    )
    last = stage.fleet.cascade(CASCADE)["status"]["lastDecision"]
    stage.voice.say(f"lastDecision: {last['reason']}: {last.get('message', '')}")
    stage.wait("its weight is restored", lambda: restored(stage), limit_s=RESTORED_LIMIT_S)
    if failed := stage.total("failed"):
        raise NotSeen(f"no failed request: {failed} failed: {failures(stage)}")
    stage.voice.seen(f"{stage.total('finished')} requests finished so far, 0 failed")


def restored(stage: Stage) -> bool:
    """Whether the medium tier has the weight that the example's author gave it, or more."""
    tiers = stage.fleet.cascade(CASCADE).get("spec", {}).get("tiers", [])
    initial = {tier["name"]: tier["weight"]["initial"] for tier in tiers}
    calm = initial["medium"] * 1000 // sum(initial.values())
    return bool(weights(stage.fleet.cascade(CASCADE)).get("medium", 0) >= calm)


def failures(stage: Stage) -> list[object]:
    return [failure for traffic in stage.traffic for failure in traffic.report.get("failures", [])]


def scale_down(stage: Stage) -> None:
    """Nobody asks any more: the small tier goes back to one replica."""
    stage.voice.say(f"the small tier has {ready(stage)} ready replicas when the last request is sent")
    for traffic in stage.traffic:
        traffic.set(concurrency=0)
    stage.wait(
        "the operator wants 1 replica of the small tier", lambda: desired(stage) == 1, limit_s=SCALE_LIMIT_S
    )
    stage.wait("1 replica of the small tier is left", lambda: pods(stage) == 1, limit_s=SCALE_LIMIT_S)


def pods(stage: Stage) -> int | None:
    found: int | None = stage.fleet.tier(SMALL).get("status", {}).get("replicas")
    return found


SCENES: tuple[tuple[str, Callable[[Stage], None]], ...] = (
    ("A small model answers first, and a larger one where it was not sure", escalate),
    ("Every answer says which tier gave it", answers),
    ("Load rises, and the small tier grows with it", scale_up),
    ("The medium tier's pods are deleted while they stream", lose_medium_gracefully),
    ("The medium tier's pods are killed while they work", lose_medium_hard),
    ("The load is gone, and so are the replicas", scale_down),
)
