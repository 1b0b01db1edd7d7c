"""A small model answers first, and a larger one where the small one was not sure: with real log probabilities."""

import pytest

from e2e.demo.ask import Answer
from e2e.scenarios.world import World

# Greedy answers of SmolLM2-135M at 24 tokens: of the one it is sure (mean log probability -0.25), of the other not
# (-1.1).  The threshold of the tests is measured all the same: it lies halfway between what the cluster says.
SURE, UNSURE = "Count from one to five.", "What is the capital of France?"
TOKENS = 24
QUICK = {"limits": {"cpu": "1"}}  # of the engines: nothing else is asked here
LONG_TOKENS = 72  # more than what is judged whole for being short
HELD_TOKENS = 8
# So much time that the tokens decide, however slow the machine is.
HELD_BY_TOKENS = {"holdBackTokens": HELD_TOKENS, "holdBackTime": "60s"}
BUSY = "llamacpp:requests_processing"
ESCALATED = "modelfleet_router_escalations_total"
TOKENS_SPENT = "modelfleet_router_tokens_total"


@pytest.fixture(scope="module")
def tiers(shared: World) -> World:
    """Two models, and Cascades that differ in what they accept: everything, nothing, and what lies between."""
    shared.tier("small", resources=QUICK)
    shared.larger_tier("medium", resources=QUICK)
    shared.external_tier("refusing", model="not-this-one")
    shared.cascade("any", "small", "medium", accept="-1000")
    shared.cascade("none", "small", "medium", accept="0", stream=HELD_BY_TOKENS)
    shared.cascade("watch", "small", "medium", accept="0", weights={"mode": "Observe"})
    shared.cascade("last", "small", "refusing", accept="0")
    shared.cascade("small-only", "small")
    shared.cascade("medium-only", "medium")
    for name in ("any", "none", "watch", "last", "small-only", "medium-only"):
        shared.wait_ready("cascade", name)
    sure, unsure = _ask_both(shared, "any")
    assert unsure.score < sure.score <= 0
    halfway = f"{(sure.score + unsure.score) / 2:.3f}"
    shared.cascade("some", "small", "medium", accept=halfway)
    shared.wait_ready("cascade", "some")
    return shared


def test_what_is_accepted_stays(tiers: World) -> None:
    before = tiers.metric(ESCALATED, cascade="any")

    answers = _ask_both(tiers, "any")

    assert [(answer.tier, answer.escalations) for answer in answers] == [("small", 0)] * 2
    assert tiers.metric(ESCALATED, cascade="any") == before
    assert all(answer.fields["choices"][0].get("logprobs") is None for answer in answers)


def test_what_is_not_accepted_escalates(tiers: World) -> None:
    before = tiers.metric(ESCALATED, cascade="none", reason="LowScore")

    answer = tiers.ask("none", UNSURE, max_tokens=TOKENS)

    assert (answer.tier, answer.escalations, answer.headers["x-modelfleet-attempts"]) == ("medium", 1, "2")
    assert tiers.metric(ESCALATED, cascade="none", reason="LowScore") == before + 1
    alone = [tiers.ask(f"{tier}-only", UNSURE, max_tokens=TOKENS) for tier in ("small", "medium")]
    assert answer.text == alone[1].text
    for count in ("prompt_tokens", "completion_tokens"):
        assert answer.fields["usage"][count] == sum(one.fields["usage"][count] for one in alone)


def test_the_score_decides(tiers: World) -> None:
    sure, unsure = _ask_both(tiers, "some")

    assert (sure.tier, sure.escalations) == ("small", 0)
    assert (unsure.tier, unsure.escalations) == ("medium", 1)


def test_a_stream_is_held_back_and_moved(tiers: World) -> None:
    before = _small_tokens(tiers)

    answer = _stream(tiers, "none")

    alone = tiers.ask("medium-only", UNSURE, max_tokens=LONG_TOKENS)
    assert answer.streamed_text == alone.text
    assert answer.tier == "medium"
    assert answer.comments == [": modelfleet tier=medium attempts=2 escalations=1"]
    # Stopped where it was judged: nine times as much had been asked for.
    assert HELD_TOKENS <= _small_tokens(tiers) - before < 2 * HELD_TOKENS
    tiers.wait("the small tier's engine works on nothing", lambda: tiers.engine_metric("small", BUSY) == 0)


def test_a_stream_that_is_accepted_comes_from_one_tier(tiers: World) -> None:
    answer = _stream(tiers, "any")

    alone = tiers.ask("small-only", UNSURE, max_tokens=LONG_TOKENS)
    assert answer.streamed_text == alone.text
    assert not any(choice.get("logprobs") for event in answer.events for choice in event["choices"])
    (comment,) = answer.comments
    assert comment.startswith(": modelfleet tier=small attempts=1 escalations=0 score=-")


def test_short_streams_are_judged_whole(tiers: World) -> None:
    answer = tiers.ask("some", UNSURE, stream=True, max_tokens=TOKENS, stream_options={"include_usage": True})

    alone = [tiers.ask(f"{tier}-only", UNSURE, max_tokens=TOKENS) for tier in ("small", "medium")]
    assert answer.streamed_text == alone[1].text
    assert answer.comments == [": modelfleet tier=medium attempts=2 escalations=1"]
    usage = [event["usage"] for event in answer.events if event.get("usage")]
    wanted = sum(one.fields["usage"]["total_tokens"] for one in alone)
    assert [each["total_tokens"] for each in usage] == [wanted]


def test_the_best_answer_is_kept_for_the_worst_case(tiers: World) -> None:
    answer = tiers.ask("last", SURE, max_tokens=TOKENS)

    assert (answer.status, answer.tier, answer.escalations) == (200, "small", 1)
    assert answer.headers["x-modelfleet-accepted"] == "false"
    assert answer.text == tiers.ask("small-only", SURE, max_tokens=TOKENS).text


def test_observing_moves_nothing(tiers: World) -> None:
    answers = _ask_both(tiers, "watch")

    assert [(answer.tier, answer.escalations) for answer in answers] == [("small", 0)] * 2
    assert tiers.metric(ESCALATED, cascade="watch") == 0
    assert tiers.metric("modelfleet_router_judged_total", cascade="watch", verdict="LowScore") == 2


def _ask_both(world: World, model: str) -> list[Answer]:
    """(of the question that the small model can answer, of the one that it can not)"""
    questions = [{"model": model, "question": question, "max_tokens": TOKENS} for question in (SURE, UNSURE)]
    return world.ask_all(questions)


def _stream(world: World, model: str) -> Answer:
    return world.ask(model, UNSURE, stream=True, max_tokens=LONG_TOKENS)


def _small_tokens(world: World) -> float:
    return world.metric(TOKENS_SPENT, cascade="none", tier="small", type="output")
