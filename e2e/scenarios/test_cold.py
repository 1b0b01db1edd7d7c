"""A tier that nobody uses goes to sleep, and the next request wakes it."""

from e2e.demo.ask import Answer
from e2e.demo.fleet import condition
from e2e.scenarios.world import World

IDLE = {
    "minReplicas": 0,
    "maxReplicas": 1,
    "metrics": [{"name": "busy", "type": "Concurrency", "target": 4}],
    "idle": {"after": "20s", "holdTimeout": "2m", "maxHeld": 8},
}
SLEEP_LIMIT_S = 120.0
REQUESTS = 4
HTTP_OK = 200


def test_it_sleeps_and_wakes(world: World) -> None:
    world.tier("small", scaling=IDLE)
    world.cascade("chat", "small", limits={"deadline": "3m"})
    world.wait_ready("cascade", "chat")
    assert world.ask("chat").status == 200
    _wait_asleep(world)
    assert condition(world.get("cascade", "chat"), "Ready")["status"] == "True"

    requests = [{"model": "chat", "question": "Hi", "stream": number % 2 == 0} for number in range(REQUESTS)]
    answers = world.ask_all(requests, at_once=REQUESTS)

    assert all(_whole(answer) for answer in answers)
    assert world.get("modeltier", "small")["status"]["lastScale"]["reason"] == "WokenUp"
    assert world.metric("modelfleet_router_wake_calls_total", outcome="Accepted") >= 1


def test_meanwhile_others_answer(world: World) -> None:
    world.tier("small", scaling=IDLE)
    world.larger_tier("medium")
    world.cascade("chat", "small", "medium", overflow={"when": ["Cold"], "maxShare": 100})
    world.wait_ready("cascade", "chat")
    assert world.ask("chat").tier == "small"
    _wait_asleep(world)

    answer = world.ask("chat")

    assert (answer.status, answer.tier) == (200, "medium")
    assert world.metric("modelfleet_router_overflowed_total", tier="small", reason="Cold") == 1
    world.wait("it was woken all the same", lambda: world.ask("chat").tier == "small")


def _wait_asleep(world: World) -> None:
    world.wait(
        "the tier sleeps",
        lambda: condition(world.get("modeltier", "small"), "Cold").get("reason") == "Idle",
        limit_s=SLEEP_LIMIT_S,
    )
    world.wait("no pod is left", lambda: not world.pods("small"))


def _whole(answer: Answer) -> bool:
    """Answered as if the tier had been there all the time."""
    ended = "data: [DONE]" in answer.body or answer.body.startswith("{")
    return answer.status == HTTP_OK and ended and "choices" in answer.body and "error" not in answer.body
