"""Who may wait, and who is told at once that it is no use."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from modelfleet.route import waiting

CALM: dict[str, Any] = {"ahead": 3, "full": False, "room": 4, "hold_s": 2.0, "left_s": 60.0}

ROWS = {
    "there is time: waits": ({}, None),
    "the line is full: refused": ({"full": True}, "QueueFull"),
    "waits 2 s, answers in 2 s, has 4: waits": ({"left_s": 4.0}, None),
    "has less: refused": ({"left_s": 3.9}, "TooLate"),
    "could wait but not be answered any more: refused": ({"left_s": 2.5}, "TooLate"),
    "nobody knows how long it takes: waits": ({"hold_s": 0.0, "left_s": 0.5}, None),
    "nobody to wait for: refused": ({"room": 0}, "NoReplica"),
    "no line at all: refused": ({"ahead": 0, "full": True}, "QueueFull"),
}


@pytest.mark.parametrize(("change", "want"), ROWS.values(), ids=ROWS)
def test_barrier(change: dict[str, Any], want: str | None):
    assert waiting.barrier(**{**CALM, **change}) == want


@given(st.integers(0, 5000), st.integers(0, 500), st.floats(0.0, 1e6))
def test_retry_after_is_a_header_that_clients_take(ahead: int, room: int, hold_s: float):
    assert 1 <= waiting.retry_after_s(ahead=ahead, room=room, hold_s=hold_s) <= waiting.RETRY_AFTER_MAX_S


@given(st.integers(0, 100), st.integers(1, 100), st.floats(0.0, 100.0))
def test_the_longer_the_line_the_longer_the_wait(ahead: int, room: int, hold_s: float):
    assert waiting.wait_s(ahead, room=room, hold_s=hold_s) <= waiting.wait_s(
        ahead + 1, room=room, hold_s=hold_s
    )
