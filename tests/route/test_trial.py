import orjson
import pytest

from modelfleet.api.route_table import AcceptRule, CascadeRoute
from modelfleet.route import accept
from modelfleet.route.trial import Trial

ROUTE = CascadeRoute("c", "chat", 10.0, 1024, (), hold_tokens=3, hold_s=0.5)


def _trial(**fields: object) -> Trial:
    return Trial(AcceptRule("MeanLogprob", -0.5), accept.asked(fields), ROUTE)


def _events(count: int) -> bytes:
    told = {"content": [{"token": "x", "logprob": -0.1}]}
    choice = {"index": 0, "delta": {"content": "x"}, "logprobs": told}
    return (b"data: " + orjson.dumps({"choices": [choice]}) + b"\n\n") * count


ROWS = {
    "nothing has come: not due however late": ({}, 0, 99.0, False),
    "too few and too early": ({}, 2, 10.4, False),
    "enough tokens": ({}, 3, 10.0, True),
    "the time is over": ({}, 1, 10.5, True),
    "judged whole: neither counts": ({"max_tokens": 5}, 4, 99.0, False),
}


@pytest.mark.parametrize(("fields", "tokens", "now_s", "want"), ROWS.values(), ids=ROWS)
def test_ready(fields: dict[str, object], tokens: int, now_s: float, *, want: bool):
    trial = _trial(**fields)
    trial.add_events(_events(tokens), 10.0)

    assert trial.ready(now_s) is want
    assert trial.pending


def test_the_verdict_ends_the_wait():
    trial = _trial()
    trial.add_events(_events(1), 10.0)

    assert trial.judge(ended=False).accepted
    assert not trial.pending
