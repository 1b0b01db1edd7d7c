"""What a ModelTier says of an API, by what routers tell."""

import pytest

from modelfleet.api.meta import Condition
from modelfleet.diff import external
from tests.make import external_tier

API = external_tier().spec.external
BEFORE = [
    Condition(
        type="Ready",
        status="False",
        reason="TLSFailed",
        message="as it was",
        lastTransitionTime="2026-01-01T00:00:00Z",
    )
]

WORDS = {
    "it can be asked": ("", "True/External"),
    "a bad certificate": ("TLS", "False/TLSFailed"),
    "nobody listens": ("Refused", "False/Unreachable"),
    "no answer": ("ConnectTimeout", "False/Unreachable"),
    "it is where nobody may go": ("AddressDenied", "False/AddressDenied"),
    "no key": ("KeyMissing", "False/KeyMissing"),
    "a wrong key": ("Unauthorized", "False/KeyRefused"),
    "it fails": ("Status5xx", "False/Failing"),
    "a word of a newer router": ("Melted", "False/Failing"),
}


@pytest.mark.parametrize(("word", "want"), WORDS.values(), ids=WORDS)
def test_ready(word: str, want: str):
    assert API is not None
    found = external.ready(API, word, before=BEFORE)

    assert f"{found.status}/{found.reason}" == want
    assert word != "TLS" or found.message.startswith(
        "No router can ask api.example.com: routers do not trust"
    )


def test_what_was_said_stays_while_nobody_tells_anything_else():
    assert API is not None
    stays = external.ready(API, None, before=BEFORE)

    assert (stays.status, stays.reason, stays.message) == ("False", "TLSFailed", "as it was")
    assert external.ready(API, None, before=[]).status == "True"


def test_down():
    assert external.down(BEFORE) is BEFORE[0]
    suspended = BEFORE[0].model_copy(update={"reason": "Suspended"})
    assert external.down([suspended]) is None
