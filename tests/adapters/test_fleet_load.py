"""What becomes of the rows; how they come about is tried in test_queries and test_readings."""

from collections.abc import Mapping

import pytest

from modelfleet.adapters.fleet_load import Numbers, fleet_load
from modelfleet.plan.load import CascadeLoad, FleetLoad, TierLoad
from modelfleet.plan.snapshot import Name
from modelfleet.plan.targets import Pod, Targets

SMALL, CHAT = Name("team", "small"), Name("team", "chat")
TIER, CASCADE = ("team", "small"), ("team", "chat")
ENGINES = Targets(engines=tuple(Pod("team", f"small-{i}", f"10.0.0.{i}", 8000, SMALL) for i in range(2)))
FIRST, SECOND, FOREIGN = (("team", f"{name}", "") for name in ("small-0", "small-1", "other-0"))
CALM: Mapping[str, Numbers] = {
    "in_flight": {TIER: 6.0},
    "before": {TIER: 6.0},
    "attempts": {TIER: 2.0},
    "retries": {TIER: 0.5},
    "turned_away": {TIER: 0.0},
    "answer_sum": {TIER: 40.0},
    "answer_count": {TIER: 20.0},
    "in_flight_mean": {TIER: 4.0},
    "waiting_mean": {TIER: 1.0},
    "tokens": {(*TIER, "input"): 2000.0, (*TIER, "output"): 400.0},
    "drafts": {TIER: 20.0},
}


def load(rows: Mapping[str, Numbers]) -> FleetLoad:
    return fleet_load(rows, {}, targets=ENGINES, source="Direct", since_s=15.0)


def tier(**changes: Numbers) -> TierLoad:
    return load({**CALM, **changes}).tiers[SMALL]


RATES: dict[str, tuple[TierLoad, float | None]] = {
    "what ended, without what was asked again": (tier(), 1.5),
    "more under way than a minute ago: more came than ended": (tier(before={TIER: 0.0}), 1.6),
    "less under way than a minute ago: fewer came": (tier(before={TIER: 66.0}), 0.5),
    "nobody knows what was under way": (tier(before={}), 1.5),
    "those who found the line too long came, too": (tier(turned_away={TIER: 3.0}), 4.5),
    "never below zero": (tier(before={TIER: 600.0}), 0.0),
    "nobody counted attempts: nothing is known": (tier(attempts={}), None),
}


@pytest.mark.parametrize(("seen", "want"), RATES.values(), ids=RATES)
def test_rate(seen: TierLoad, want: float | None):
    assert seen.rate_rps == (None if want is None else pytest.approx(want))


TIMES: dict[str, tuple[TierLoad, float | None]] = {
    "a quarter of those under way waits: so does each for a quarter of its time": (tier(), 1.5),
    "nobody waits": (tier(waiting_mean={TIER: 0.0}), 2.0),
    "nothing was under way when anybody looked": (tier(in_flight_mean={TIER: 0.0}), 2.0),
    "nothing was answered": (tier(answer_count={TIER: 0.0}), None),
    "nobody counted": (tier(answer_sum={}), None),
}


@pytest.mark.parametrize(("seen", "want"), TIMES.values(), ids=TIMES)
def test_seconds_of_an_answer(seen: TierLoad, want: float | None):
    assert seen.answer_s == want


def test_tokens_are_means_and_nothing_without_answers():
    assert (tier().prompt_tokens, tier().output_tokens) == (100.0, 20.0)
    assert (tier(drafts={}).prompt_tokens, tier(drafts={TIER: 0.0}).output_tokens) == (None, None)


SHARES: dict[str, tuple[dict[str, Numbers], float | None]] = {
    "vLLM counts cached tokens with all": ({"vllm_prompt": {FIRST: 100.0}, "vllm_cached": {FIRST: 40.0}}, 0.4),
    "llama.cpp counts them beside": ({"llama_prompt": {FIRST: 60.0}, "llama_cached": {FIRST: 40.0}}, 0.4),
    "over all replicas": (
        {"vllm_prompt": {FIRST: 100.0, SECOND: 300.0}, "vllm_cached": {FIRST: 40.0, SECOND: 0.0}},
        0.1,
    ),
    "others' pods count nothing": ({"vllm_prompt": {FOREIGN: 100.0}, "vllm_cached": {FOREIGN: 40.0}}, None),
    "no prompts lately: no share": ({"vllm_prompt": {FIRST: 0.0}, "vllm_cached": {FIRST: 0.0}}, None),
}  # fmt: skip


@pytest.mark.parametrize(("rows", "want"), SHARES.values(), ids=SHARES)
def test_cached_share(rows: dict[str, Numbers], want: float | None):
    assert tier(**rows).cached_share == want


def test_engines_by_tier():
    seen = tier(engine_waiting={FIRST: 2.0, SECOND: 3.0, FOREIGN: 9.0}, kv_used={FIRST: 0.3, SECOND: 0.7})

    assert (seen.engines, seen.waiting_engines, seen.kv_used) == (2, 5.0, 0.7)
    assert (tier().engines, tier().waiting_engines, tier().kv_used) == (0, None, None)


def test_a_cascade_adds_up_its_tiers():
    rows: dict[str, Numbers] = {
        "arrived": {CASCADE: 9.0},
        "cascade_routers": {CASCADE: 2.0},
        "answers": {(*CASCADE, "small"): 3.0, (*CASCADE, "big"): 4.0},
        "ttft_since": {
            (*CASCADE, "small", "0.5"): 3.0,
            (*CASCADE, "small", "+Inf"): 3.0,
            (*CASCADE, "big", "0.5"): 0.0,
            (*CASCADE, "big", "+Inf"): 1.0,
        },
        "started": {(*CASCADE, "s"): 8.0, (*CASCADE, "m"): 1.0},
        "judged": {(*CASCADE, "s"): 5.0},
        "escalated": {(*CASCADE, "s"): 2.0},
    }
    found = fleet_load(rows, {CASCADE: [1.0, 2.0]}, targets=ENGINES, source="Direct", since_s=15.0)
    chat = found.cascades[CHAT]

    assert (chat.arrived, chat.routers, chat.counts, chat.source) == (9.0, 2, (1.0, 2.0), "Direct")
    assert chat.answers is not None
    assert chat.answers.count == 7.0
    assert chat.answers.ttft is not None
    assert chat.answers.ttft.within(0.5) == 0.75
    assert (chat.steps["s"].judged, chat.steps["s"].escalated, chat.steps["m"].judged) == (5.0, 2.0, None)
    assert found.started == {CHAT: {"s": 8.0, "m": 1.0}}


def test_nothing_told_is_nothing_known():
    assert load({}) == FleetLoad({}, {}, {}, {}, since_s=15.0)
    assert load({"cascade_age": {CASCADE: 3.0}}).cascades == {CHAT: CascadeLoad(age_s=3.0, source="Direct")}
