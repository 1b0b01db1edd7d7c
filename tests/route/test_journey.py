import orjson

from modelfleet.route.accept import Verdict
from modelfleet.route.journey import Journey, Spent

USAGE = {
    "prompt_tokens": 10,
    "completion_tokens": 5,
    "total_tokens": 15,
    "prompt_tokens_details": {"cached_tokens": 1},
}
BODY = orjson.dumps({"choices": [{"message": {"content": "x"}, "logprobs": {"content": []}}], "usage": USAGE})


def _journey(*spent: Spent) -> Journey:
    journey = Journey()
    journey.attempts, journey.judged = 1 + len(spent), True
    for one in spent:
        journey.rejected(one)
    return journey


def test_a_body_that_needs_no_change_is_the_same_bytes():
    assert _journey().whole(BODY, keep_logprobs=True) is BODY


def test_usage_is_the_sum_of_all_tiers():
    body = _journey(Spent(12, 30), Spent(None, 7)).whole(BODY, keep_logprobs=True)

    usage = orjson.loads(body)["usage"]
    # The second draft was stopped before its engine could count the prompt: 10 as in the answer.
    assert (usage["prompt_tokens"], usage["completion_tokens"], usage["total_tokens"]) == (32, 42, 74)
    assert usage["prompt_tokens_details"] == {"cached_tokens": 1}


def test_log_probabilities_that_only_we_asked_for_go():
    assert orjson.loads(_journey().whole(BODY, keep_logprobs=False))["choices"][0]["logprobs"] is None


def test_the_usage_event_is_the_sum_too():
    data = orjson.dumps({"choices": [], "usage": USAGE})

    told = _journey(Spent(1, 2)).usage_event(data)

    assert told.startswith(b"data: {")
    assert told.endswith(b"}\n\n")
    assert orjson.loads(told[6:])["usage"]["total_tokens"] == 18


def test_what_is_no_answer_passes():
    assert _journey(Spent(1, 2)).whole(b"{", keep_logprobs=False) == b"{"
    assert _journey(Spent(1, 2)).whole(b"[1]", keep_logprobs=False) == b"[1]"


def test_headers_and_comment_say_the_same():
    journey = _journey(Spent(1, 2))
    journey.took(Verdict("LowScore", -0.51239))

    assert journey.fields("small") == (
        b"x-modelfleet-tier: small\r\nx-modelfleet-attempts: 2\r\nx-modelfleet-escalations: 1\r\n"
        b"x-modelfleet-score: -0.5124\r\nx-modelfleet-accepted: false\r\n"
    )
    assert journey.comment("small") == (
        b": modelfleet tier=small attempts=2 escalations=1 score=-0.5124 accepted=false\n\n"
    )


def test_a_cascade_without_rules_says_no_more_than_before():
    journey = Journey()
    journey.attempts = 1

    assert journey.fields("small") == b"x-modelfleet-tier: small\r\nx-modelfleet-attempts: 1\r\n"
