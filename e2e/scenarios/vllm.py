"""The real vLLM as a tier, in a pod beside one of llama.cpp; `make test-vllm` runs this.

The name keeps it out of `make test`: vLLM's environment takes 6 GB, and a pod of it two minutes to start.
"""

import pytest

from e2e.cluster import choose, vllm
from e2e.scenarios.world import World

QUESTION = "What is the capital of France?"
TOKENS = 24
LONG_TOKENS = 72  # more than what is judged whole for being short
HELD_TOKENS = 8
START_LIMIT_S = 600.0
ENGINE = {
    "image": vllm.IMAGE,
    "maxModelLen": 2048,
    "maxNumSeqs": 8,
    "args": ["--enforce-eager", "--dtype=bfloat16"],
    "env": [{"name": "VLLM_CPU_KVCACHE_SPACE", "value": "1"}, {"name": "OMP_NUM_THREADS", "value": "2"}],
}
HELD_BY_TOKENS = {"holdBackTokens": HELD_TOKENS, "holdBackTime": "60s"}
RUNNING = "vllm:num_requests_running"
ATTEMPTS = "modelfleet_router_attempts_total"


@pytest.fixture(scope="module")
def tiers(shared: World, target: choose.Target) -> World:
    """A tier of vLLM, one of llama.cpp, and Cascades that accept everything and nothing of the former."""
    if target.built is None:
        pytest.skip("the nodes of this cluster do not see the environment of vLLM")
    vllm.prepare(target.built)
    shared.claim(vllm.claim(shared.namespace))
    _vllm_tier(shared, drain="90s")
    shared.tier("medium", resources={"limits": {"cpu": "1"}})
    shared.cascade("any", "vllm", "medium", accept="-1000")
    shared.cascade("none", "vllm", "medium", accept="0", stream=HELD_BY_TOKENS)
    shared.cascade("medium-only", "medium")
    shared.wait_ready("modeltier", "vllm", limit_s=START_LIMIT_S)
    for name in ("any", "none", "medium-only"):
        shared.wait_ready("cascade", name)
    shared.wait("vLLM answers", lambda: shared.ask("any").tier == "vllm")
    return shared


def test_its_log_probabilities_are_scored_and_not_shown(tiers: World) -> None:
    answer = tiers.ask("any", QUESTION, max_tokens=TOKENS)

    assert (answer.tier, answer.escalations) == ("vllm", 0)
    assert -10 < answer.score < 0
    assert answer.fields["choices"][0]["logprobs"] is None


def test_they_are_shown_to_who_asks(tiers: World) -> None:
    answer = tiers.ask("any", QUESTION, max_tokens=TOKENS, logprobs=True)

    tokens = answer.fields["choices"][0]["logprobs"]["content"]
    mean = sum(token["logprob"] for token in tokens) / len(tokens)
    assert answer.score == pytest.approx(mean, abs=1e-3)


def test_it_escalates_to_llama_cpp(tiers: World) -> None:
    answer = tiers.ask("none", QUESTION, max_tokens=TOKENS)

    alone = tiers.ask("medium-only", QUESTION, max_tokens=TOKENS)
    assert (answer.tier, answer.escalations) == ("medium", 1)
    assert answer.text == alone.text
    assert answer.fields["usage"]["completion_tokens"] > alone.fields["usage"]["completion_tokens"]


def test_its_stream_is_held_back_and_moved(tiers: World) -> None:
    answer = tiers.ask("none", QUESTION, stream=True, max_tokens=LONG_TOKENS)

    alone = tiers.ask("medium-only", QUESTION, max_tokens=LONG_TOKENS)
    assert answer.streamed_text == alone.text
    assert answer.comments == [": modelfleet tier=medium attempts=2 escalations=1"]
    tiers.wait("vLLM works on nothing", lambda: tiers.engine_metric("vllm", RUNNING) == 0)


def test_its_accepted_stream_is_its_own(tiers: World) -> None:
    answer = tiers.ask("any", QUESTION, stream=True, max_tokens=LONG_TOKENS)

    assert not any(choice.get("logprobs") for event in answer.events for choice in event["choices"])
    (comment,) = answer.comments
    assert comment.startswith(": modelfleet tier=vllm attempts=1 escalations=0 score=-")


def test_its_pod_finishes_its_requests_first(tiers: World) -> None:
    """A rollout, because a second pod of it takes minutes to start: to what the next test wants."""
    aborted = tiers.metric(ATTEMPTS, tier="vllm", outcome="Aborted")

    with tiers.load("any", concurrency=2, streams=50, max_tokens=LONG_TOKENS) as traffic:
        tiers.wait("vLLM answers", lambda: traffic.report["tiers"].get("vllm", 0) > 0)
        tiers.wait("vLLM is at work", lambda: tiers.engine_metric("vllm", RUNNING) > 0)
        _vllm_tier(tiers, drain="1s")
        tiers.wait("the other tier takes over", lambda: traffic.report["tiers"].get("medium", 0) > 1)

    assert tiers.metric(ATTEMPTS, tier="vllm", outcome="Aborted") == aborted


def test_what_it_gives_up_is_answered_by_another(tiers: World) -> None:
    """A vLLM with no time left answers 500, or 200 with finish_reason abort, or has just ended: no client fails."""
    tiers.wait("vLLM answers again", lambda: tiers.ask("any").tier == "vllm", limit_s=START_LIMIT_S)

    with tiers.load("any", concurrency=2, streams=0, max_tokens=512) as traffic:
        tiers.wait("vLLM is at work", lambda: tiers.engine_metric("vllm", RUNNING) > 0)
        tiers.kubectl("delete", "pod", tiers.pods("vllm")[0]["metadata"]["name"], "--wait=false")
        tiers.wait("the other tier takes over", lambda: traffic.report["tiers"].get("medium", 0) > 1)


def _vllm_tier(world: World, *, drain: str) -> None:
    rollout = {"drainTimeout": drain, "startupTimeout": "10m", "maxSurge": 0, "maxUnavailable": 1}
    model = {"uri": f"pvc://{vllm.CLAIM}/{vllm.MODEL}"}
    world.tier("vllm", model=model, llamaCpp=None, nodePool=None, vllm=ENGINE, rollout=rollout)
