"""What was learned survives as text, and a planner that reads it decides as if it had never stopped."""

from dataclasses import replace

import pytest

from modelfleet.plan.learned import (
    TEXT_BYTES_MAX,
    Learned,
    Shown,
    Start,
    decode,
    encode,
    state_of,
    with_start,
)
from modelfleet.plan.planner import Plan, Settings, State, plan
from modelfleet.plan.rails import Course
from tests.plan.calm_look import BIG, CALM, SMALL

START = Start("uid-1", 1.0, 20.0, 30.0, 60.0)
NAMES = ("small", "big")
RATES = [60.0 + 30.0 * ((at * 7) % 11) / 11 for at in range(120)]


def run(looks: range, state: State, replicas: tuple[int, ...]) -> tuple[list[Plan], State, tuple[int, ...]]:
    """The planner in a world that does what it says, at once."""
    found = []
    for at in looks:
        small, big = (
            replace(tier, replicas=count, ready=count, itl_s=0.012)
            for tier, count in zip((SMALL, BIG), replicas, strict=True)
        )
        look = replace(
            CALM,
            now_s=1_780_000_000.0 + 15.0 * at,
            arrived=15 * RATES[at],
            counts=[RATES[at] * 5] * 120,
            tiers=(small, big),
        )
        one, state = plan(look, state, Settings())
        replicas = tuple(tier.replicas for tier in one.tiers)
        found.append(one)
    return found, state, replicas


@pytest.mark.parametrize("cut", [1, 20, 77])
def test_a_restarted_planner_decides_as_the_old_one_would(cut: int):
    whole, _, _ = run(range(120), State(), (4, 4))

    before, state, replicas = run(range(cut), State(), (4, 4))
    again = decode(encode(Learned(state, NAMES)))
    after, _, _ = run(range(cut, 120), state_of(again, NAMES), replicas)

    assert [*before, *after] == whole


def test_text_is_small_however_much_was_learned():
    state = State(
        rates_rps=(123.456789012345,) * 3000,
        answered=((1e6 / 3, 1e6 / 7),) * 3000,
        samples=((1.23456789012345,) * 40,) * 8,
        courses=(Course(((1.78e9, 3),) * 400, ((1.78e9 + 1 / 3, 1),) * 4000),) * 8,
    )

    assert len(encode(Learned(state, tuple("abcdefgh")))) <= TEXT_BYTES_MAX


@pytest.mark.parametrize("count", [1, 40, 3000])
def test_a_group_of_many_tiers_keeps_what_there_is_room_for(count: int):
    names = tuple(f"a-tier-with-a-name-that-is-as-long-as-names-may-be-{at}" for at in range(count))
    known = Learned(
        State(
            rates_rps=(123.456789012345,) * 160,
            deviations=0.5,
            samples=((1.23456789012345,) * 40,) * count,
            courses=(Course(((1.78e9, 3),), ((1.78e9, 1),)),) * count,
        ),
        names,
        starts=dict.fromkeys(names, (START,) * 20),
        shown=dict.fromkeys(names, Shown(1234.5678, 123.45678, 12.3456789)),
        at_s=1.78e9,
    )
    text = encode(known)
    again = decode(text)

    assert len(text) <= TEXT_BYTES_MAX
    assert again.state.rates_rps
    assert (again.state.deviations, again.at_s) == (0.5, 1.78e9)
    assert len(state_of(again, names).courses) in {0, count}


@pytest.mark.parametrize("text", ["", "[]", "{}}", '{"state": 1}', '{"tiers": [1]}'])
def test_what_is_no_such_text_is_refused(text: str):
    with pytest.raises(ValueError, match=":"):
        decode(text)


def test_a_tier_keeps_its_past_wherever_it_moves():
    _, state, _ = run(range(20), State(), (4, 4))
    known = Learned(state, NAMES)

    turned = state_of(known, ("new", "big", "small"))

    assert (turned.courses[2], turned.courses[1]) == state.courses
    assert turned.courses[0] == Course()
    assert plan(
        replace(CALM, tiers=(replace(SMALL, name="new"), BIG, SMALL)), turned, Settings()
    )  # no entry is missing


def test_starts_count_once_for_each_pod():
    once = with_start(Learned(), "small", START)

    assert with_start(once, "small", START) == once
    many = once
    for at in range(50):
        many = with_start(many, "small", replace(START, uid=str(at)))
    assert len(many.starts["small"]) == 20
