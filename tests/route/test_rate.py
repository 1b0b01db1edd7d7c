"""An API is never asked more often than it may be, by one router or by all."""

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from modelfleet.route.rate import Rate

MINUTE_S = 60.0


def rate(
    *, requests: int | None = None, tokens: int | None = None, routers: int = 1, now_s: float = 0.0
) -> Rate:
    made = Rate()
    made.limit(requests=requests, tokens=tokens, routers=routers, now_s=now_s)
    return made


def admitted(one: Rate, now_s: float) -> bool:
    if one.wait_s(now_s, ahead=0, under_way=0):
        return False
    one.begin()
    return True


def test_a_twelfth_of_a_minute_may_come_at_once():
    one = rate(requests=120)

    assert sum(admitted(one, 5.0) for _ in range(50)) == 10
    assert one.wait_s(5.0, ahead=0, under_way=0) == pytest.approx(60 / 111)


def test_who_waits_waits_for_those_before_it():
    one = rate(requests=1)
    assert admitted(one, 0.0)

    assert [one.wait_s(30.0, ahead=ahead, under_way=0) for ahead in range(3)] == [30.0, 90.0, 150.0]


def test_a_limit_of_one_is_one_a_minute():
    one = rate(requests=1)

    assert [second for second in range(200) if admitted(one, float(second))] == [0, 60, 120, 180]


def test_less_than_one_a_minute_is_one_in_so_many():
    one = rate(requests=1, routers=3)

    times = [second for second in range(400) if admitted(one, float(second))]
    assert times == pytest.approx([0, 180, 360], abs=2)


def test_tokens_count_when_an_answer_has_told_them():
    one = rate(tokens=6000)
    assert one.wait_s(0.0, ahead=0, under_way=0) == 0.0

    one.told(tokens=1000, answers=1)
    assert one.wait_s(0.0, ahead=0, under_way=0) == pytest.approx(501 / (5501 / 60))
    assert one.wait_s(60.0, ahead=0, under_way=0) == 0.0
    # One under way is expected to take as many as the one before it.
    assert one.wait_s(60.0, ahead=0, under_way=1) > 0.0


def test_before_any_answer_one_request_tells_how_many_tokens_it_takes():
    one = rate(tokens=6000)

    assert one.wait_s(0.0, ahead=0, under_way=1) > 0.0


def test_who_counted_and_left_is_no_credit():
    one = rate(tokens=6000)
    one.told(tokens=900, answers=1)
    wait_s = one.wait_s(0.0, ahead=0, under_way=0)
    one.told(tokens=0, answers=0)

    assert one.wait_s(0.0, ahead=0, under_way=0) == wait_s > 0


def test_a_router_that_goes_gives_its_part_to_the_others_and_no_burst():
    one = rate(requests=120, routers=2)
    assert sum(admitted(one, 0.0) for _ in range(50)) == 5
    one.limit(requests=120, tokens=None, routers=1, now_s=0.0)

    assert not admitted(one, 0.0)
    assert sum(admitted(one, second / 10) for second in range(600)) == pytest.approx(111, abs=1)


@given(st.integers(1, 300), st.lists(st.floats(0.0, 3.0), max_size=400))
def test_never_more_than_the_limit_in_any_minute(per_minute: int, pauses: list[float]):
    one, now_s = rate(requests=per_minute), 0.0
    began: list[float] = []
    for pause_s in pauses:
        now_s += pause_s
        if admitted(one, now_s):
            began.append(now_s)
        assert sum(at > now_s - MINUTE_S for at in began) <= per_minute


@example(13, 4, [1])
@given(st.integers(12, 300), st.integers(1, 4), st.lists(st.integers(1, 4), min_size=1, max_size=4))
def test_all_routers_together_keep_it_while_they_know_how_many_they_are(
    per_minute: int, routers: int, changes: list[int]
):
    """Clients that always ask, at routers that are told at once when their number changes."""
    ready = [rate(requests=per_minute, routers=routers) for _ in range(routers)]
    began: list[float] = []
    for step in range(60 * len(changes)):
        now_s = float(step)
        if step % 60 == 59:
            count = changes[step // 60]
            # Those who come start with a burst of their own: each the part of one.
            ready = ready[:count] + [
                rate(requests=per_minute, routers=count, now_s=now_s) for _ in ready[count:]
            ]
            for one in ready:
                one.limit(requests=per_minute, tokens=None, routers=len(ready), now_s=now_s)
        began += [now_s for one in ready for _ in range(5) if admitted(one, now_s)]
        # Those who come bring their part of a burst, which is never less than one request; and a part that is no
        # whole number may begin with its next request.
        assert sum(at > now_s - MINUTE_S for at in began) <= per_minute * 13 / 12 + 2 * len(ready)
