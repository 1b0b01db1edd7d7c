import hashlib
from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from modelfleet.route.keys import BURST_S, ApiKey, Bucket, bearer, entry

DIGEST = hashlib.sha256(b"mf-secret").hexdigest()


def test_entry_that_only_names_its_key_allows_everything():
    assert entry("team", b'{"sha256": "%b"}' % DIGEST.encode()) == ApiKey("team", bytes.fromhex(DIGEST))


def test_entry_with_everything():
    text = orjson.dumps(
        {
            "sha256": DIGEST.upper(),
            "models": ["chat"],
            "tiers": ["small", "medium"],
            "dataClass": "internal",
            "requestsPerMinute": 60,
        }
    )

    assert entry("team", text) == ApiKey(
        name="team",
        digest=bytes.fromhex(DIGEST),
        models=frozenset({"chat"}),
        tiers=frozenset({"small", "medium"}),
        data_class="internal",
        per_minute=60,
    )


BROKEN: dict[str, Any] = {
    "not JSON": b"sha256: x",
    "not UTF-8": b'{"sha256": "\xff"}',
    "a list": [],
    "no digest": {},
    "the key itself": {"sha256": "mf-secret"},
    "a digest of another kind": {"sha256": DIGEST[:40]},
    "a misspelt field": {"sha256": DIGEST, "model": ["chat"]},
    "one model and no list": {"sha256": DIGEST, "models": "chat"},
    "a model without a name": {"sha256": DIGEST, "models": [""]},
    "tiers that are numbers": {"sha256": DIGEST, "tiers": [1]},
    "a class that is a list": {"sha256": DIGEST, "dataClass": ["a"]},
    "no requests at all": {"sha256": DIGEST, "requestsPerMinute": 0},
    "a rate that is a word": {"sha256": DIGEST, "requestsPerMinute": "60"},
    "a rate that is true": {"sha256": DIGEST, "requestsPerMinute": True},
    "half a request": {"sha256": DIGEST, "requestsPerMinute": 0.5},
}


@pytest.mark.parametrize("text", BROKEN.values(), ids=BROKEN)
def test_broken_entry_says_what_is_wrong_and_quotes_nothing(text: Any):
    with pytest.raises(ValueError, match=r"^(is not|has) ") as raised:
        entry("team", text if isinstance(text, bytes) else orjson.dumps(text))

    assert "mf-secret" not in str(raised.value)
    assert DIGEST[:40] not in str(raised.value)


def test_empty_list_of_models_allows_none():
    nobody = entry("team", orjson.dumps({"sha256": DIGEST, "models": []}))

    assert not nobody.may_use("chat")


GIVEN: dict[str, tuple[list[tuple[bytes, bytes]], bytes | None]] = {
    "a key": ([(b"host", b"r"), (b"authorization", b"Bearer mf-1")], b"mf-1"),
    "the scheme in capitals": ([(b"authorization", b"BEARER mf-1")], b"mf-1"),
    "spaces around it": ([(b"authorization", b"Bearer   mf-1 ")], b"mf-1"),
    "none": ([(b"host", b"r")], None),
    "another scheme": ([(b"authorization", b"Basic bWY=")], None),
    "a key without its scheme": ([(b"authorization", b"mf-1")], None),
    "a scheme without a key": ([(b"authorization", b"Bearer ")], None),
    "two, to choose from": ([(b"authorization", b"Bearer a"), (b"authorization", b"Bearer b")], None),
}


@pytest.mark.parametrize(("fields", "want"), GIVEN.values(), ids=GIVEN)
def test_bearer(fields: list[tuple[bytes, bytes]], want: bytes | None):
    assert bearer(fields) == want


def test_refused_request_is_told_when_the_next_one_may_come():
    bucket = Bucket(60, now_s=0.0)
    for _ in range(10):
        assert bucket.take(0.0, routers=1) == 0.0

    assert bucket.take(0.0, routers=1) == pytest.approx(1.0)
    assert bucket.take(1.0, routers=1) == 0.0


@given(
    per_minute=st.integers(1, 6000),
    routers=st.integers(1, 5),
    steps_s=st.lists(st.floats(0, 30), min_size=1, max_size=200),
)
def test_all_routers_together_never_exceed_rate_and_burst(
    per_minute: int, routers: int, steps_s: list[float]
):
    buckets = [Bucket(per_minute, now_s=0.0) for _ in range(routers)]
    now_s, admitted = 0.0, 0
    for step_s in steps_s:
        now_s += step_s
        for bucket in buckets:
            for _ in range(5):
                admitted += bucket.take(now_s, routers=routers) == 0.0

    burst = max(routers, per_minute / 60 * BURST_S)
    assert admitted <= per_minute / 60 * now_s + burst + 1e-6
