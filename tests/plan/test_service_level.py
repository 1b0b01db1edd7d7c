"""Whether objectives are kept, and what would make them possible."""

from dataclasses import replace

import pytest

from modelfleet.api.cascade import Cascade
from modelfleet.plan.joint import Bound
from modelfleet.plan.planner import Look, Plan, Settings, State, plan
from modelfleet.plan.service_level import WithinSlo, attained, judge
from modelfleet.plan.sizing import Objectives
from tests.make import cascade
from tests.plan.calm_look import BIG, CALM, SMALL, STEADY

ALONE = replace(CALM, tiers=(replace(SMALL, share=1.0),))


def judged(look: Look, state: State) -> WithinSlo:
    found, after = plan(look, state, Settings())
    return judge(look, found, after)


CASES = {
    "nearly all kept it": (CALM, STEADY, ("True", "Kept")),
    "many did not": (replace(CALM, good=700.0), STEADY, ("False", "Missed")),
    "a poor minute in a good hour": (
        replace(CALM, good=700.0),
        replace(STEADY, answered=((900.0, 900.0),) * 200),
        ("True", "Kept"),
    ),
    "many did not, and there is no money for more": (
        replace(CALM, good=700.0, bounds=(Bound((1.0, 4.0), 5.0),)),
        STEADY,
        ("False", "BudgetBound"),
    ),
    "hardly anybody asked": (replace(CALM, answers=3.0, good=1.0), STEADY, ("Unknown", "TooFewAnswers")),
}


@pytest.mark.parametrize(("look", "state", "want"), CASES.values(), ids=CASES)
def test_kept(look: Look, state: State, want: tuple[str, str]):
    found = judged(look, state)

    assert (found.status, found.reason) == want


IMPOSSIBLE = {
    "a first token sooner than it can be read": (
        replace(ALONE, goals=Objectives(0.02, 0.05)),
        "ttftP95 of 20ms, and an idle replica of small takes 33ms",
    ),
    "tokens faster than a step": (
        replace(ALONE, goals=Objectives(1.0, 0.003)),
        "itlP95 of 3ms, and an idle replica of small takes 7ms",
    ),
    "more load than maxReplicas carry": (
        replace(ALONE, tiers=(replace(SMALL, share=1.0, replicas_max=2, replicas=2, ready=2),)),
        "small would need maxReplicas ",
    ),
}


@pytest.mark.parametrize(("look", "says"), IMPOSSIBLE.values(), ids=IMPOSSIBLE)
def test_impossible_goals_are_told_with_what_is_possible(look: Look, says: str):
    found = judged(look, STEADY)

    assert (found.status, found.reason) == ("False", "Infeasible")
    assert says in found.message


def test_a_small_maximum_is_none_where_the_others_carry_it():
    small = replace(SMALL, replicas_max=2, replicas=2, ready=2)

    assert judged(replace(CALM, tiers=(small, BIG)), STEADY).reason == "Kept"


def test_alone_each_maximum_counts():
    look = replace(CALM, tiers=(replace(SMALL, replicas_max=1, replicas=1, ready=1, replicas_min=0), BIG))
    found, after = plan(look, STEADY, Settings(pooled=False))

    assert "small would need maxReplicas" in judge(look, found, after).message


def test_words_stay_while_lengths_move_a_little():
    strict = replace(ALONE, goals=Objectives(0.02, 0.05))
    assert strict.tiers[0].lengths is not None
    longer = replace(
        strict,
        tiers=(replace(strict.tiers[0], lengths=replace(strict.tiers[0].lengths, prompt=920.0)),),
    )

    assert judged(strict, STEADY) == judged(longer, STEADY)


def test_attained_is_unknown_before_twenty_answers():
    assert attained(State(answered=((19.0, 19.0),))) is None
    assert attained(State(answered=((10.0, 9.0), (10.0, 10.0)))) == 0.95


def test_nothing_is_impossible_while_nothing_is_known():
    quiet = replace(CALM, tiers=(replace(SMALL, lengths=None), replace(BIG, lengths=None)))

    assert judged(quiet, STEADY).reason != "Infeasible"
    assert isinstance(plan(quiet, STEADY, Settings())[0], Plan)


def chat(target: int | None, *, most: int = 100, least: int = 0, **small: object) -> Cascade:
    return cascade(
        "chat",
        tiers=[
            {"name": "small", "tierRef": {"name": "small"}, "weight": {"initial": 1, "min": least}, **small},
            {"name": "big", "tierRef": {"name": "big"}, "weight": {"max": most}}
            | ({} if target is None else {"targetShare": target}),
        ],
    )


REACH = {
    "within its bounds": (chat(30, most=40), None),
    "no target": (chat(None, most=10), None),
    "above what may enter": (chat(30, most=10), "let it have 10 at most"),
    "the others take too much": (chat(30, least=80), "let it have 20 at most"),
    "answers are judged": (chat(30, most=10, accept={"signal": "MeanLogprob", "threshold": "-1"}), None),
}


@pytest.mark.parametrize(("owner", "want"), REACH.values(), ids=REACH)
def test_a_share_out_of_reach_is_told_with_what_is_in_reach(owner: Cascade, want: str | None):
    found, after = plan(CALM, STEADY, Settings())
    judged = judge(CALM, found, after, cascade=owner)

    assert judged.reason == ("Infeasible" if want else "Kept")
    assert (want or "") in judged.message
