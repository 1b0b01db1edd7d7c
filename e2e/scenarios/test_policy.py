"""Where requests go when their tier cannot take them, and where they never go."""

from e2e.demo.ask import Answer
from e2e.scenarios.world import World

QUICK = {"limits": {"cpu": "1"}}
PRIVATE, PUBLIC = "heron-4711", "magpie-4712"  # words that stand in no other request
POLICY = {"localOnly": ["private"], "allowed": ["public"]}
HEADER = "x-modelfleet-data-class"
FIXED = {"mode": "Fixed"}
REQUESTS = 12
# A tenth of a cent for a token, so that a hundred are a day's budget; a replica is next to nothing.
DEAR = {"inputPerMillionTokens": "1000", "outputPerMillionTokens": "1000"}
CHEAP = {"perReplicaHour": "0.0001"}


def test_the_paid_api_answers_when_the_pods_die(world: World) -> None:
    world.tier("small", resources=QUICK)
    world.external_tier("frontier")
    world.cascade("chat", "small", "frontier")
    world.wait_ready("cascade", "chat")

    # What a stream has sent cannot be taken back, so nobody can save one from a kill.
    with world.load("chat", concurrency=2, streams=0, max_tokens=16) as traffic:
        world.wait("the small tier answers", lambda: traffic.report["tiers"].get("small", 0) > 2)
        world.kill("small")
        world.wait("the paid API answers", lambda: traffic.report["tiers"].get("frontier", 0) > 2)
        before = traffic.report["tiers"]["small"]
        world.wait("the small tier answers again", lambda: traffic.report["tiers"]["small"] > before + 2)


def test_private_data_never_leaves(world: World) -> None:
    """Entry, escalation, fallback and overflow all want to go to the paid API; half of the requests may not."""
    world.tier("small", resources=QUICK)
    world.external_tier("frontier")
    steps = [
        {
            "name": "small",
            "tierRef": {"name": "small"},
            "weight": {"initial": 1},
            "accept": {"signal": "MeanLogprob", "threshold": "0"},
        },
        {"name": "frontier", "tierRef": {"name": "frontier"}, "weight": {"initial": 1}},
    ]
    overflow = {"maxShare": 100}
    world.cascade("chat", tiers=steps, dataPolicy=POLICY, weights=FIXED, overflow=overflow)
    world.wait_ready("cascade", "chat")

    public = world.ask_all(_requests(PUBLIC, {HEADER: "public"}), at_once=4)
    private = world.ask_all(_requests(PRIVATE, {HEADER: "private"}), at_once=4)
    unnamed = world.ask_all(_requests(PRIVATE, {}), at_once=4)
    world.kill("small")
    left_alone = world.ask_all(_requests(PRIVATE, {HEADER: "Private"}), at_once=4)

    assert _tiers(public) == {"frontier"}
    assert _tiers(private) == _tiers(unnamed) == {"small"}
    assert {answer.status for answer in private + unnamed} == {200}
    assert all(answer.tier != "frontier" for answer in left_alone)
    sent = world.left_the_cluster()
    assert PUBLIC in sent
    assert PRIVATE not in sent


def test_a_request_may_choose_its_tier(world: World) -> None:
    world.tier("small", resources=QUICK)
    world.external_tier("frontier")
    world.cascade("chat", "small", "frontier", clientChoice=["Tier", "MinTier"])
    world.cascade("fixed", "small", "frontier")
    world.wait_ready("cascade", "chat")
    world.wait_ready("cascade", "fixed")
    world.wait("the small tier has its weight", lambda: world.ask("chat").tier == "small")
    chosen, floor = {"x-modelfleet-tier": "frontier"}, {"x-modelfleet-min-tier": "frontier"}

    answers = world.ask_all(
        [{"model": "chat", "question": "Hi", "headers": each} for each in ({}, chosen, floor)]
    )

    assert [answer.tier for answer in answers] == ["small", "frontier", "frontier"]
    refused = world.ask("fixed", headers=chosen)
    assert (refused.status, refused.fields["error"]["code"]) == (400, "tier_choice_not_allowed")


def test_what_a_full_tier_cannot_take_goes_on(world: World) -> None:
    world.tier("small", resources=QUICK)
    world.larger_tier("medium", resources=QUICK)
    world.cascade("chat", "small", "medium", overflow={"when": ["Saturated"], "maxShare": 100})
    world.wait_ready("cascade", "chat")

    with world.load("chat", concurrency=8, streams=50, max_tokens=16) as traffic:
        world.wait("both tiers answer", lambda: {"small", "medium"} <= set(traffic.report["tiers"]))

    assert (
        world.metric("modelfleet_router_overflowed_total", cascade="chat", tier="small", reason="Saturated")
        > 0
    )
    assert world.metric("modelfleet_router_overflowed_total", cascade="chat", reason="Error") == 0


def test_when_the_money_is_spent_the_paid_api_is_left(world: World) -> None:
    world.tier("small", resources=QUICK, price=CHEAP)
    world.external_tier("frontier", price=DEAR)
    _spend(world, "0.10")
    world.wait_ready("modeltier", "small")
    world.wait_ready("cascade", "chat")
    assert _tiers(world.ask_all(_requests(PUBLIC, {}), at_once=4)) == {"small", "frontier"}

    world.wait_condition("cascade", "chat", "WithinBudget", "False", "Exhausted")
    world.wait("routers know", lambda: _tiers(world.ask_all(_requests(PUBLIC, {}), at_once=4)) == {"small"})
    answers = world.ask_all(_requests(PRIVATE, {}), at_once=4)
    assert (_tiers(answers), {answer.status for answer in answers}) == ({"small"}, {200})
    assert PRIVATE not in world.left_the_cluster()

    _spend(world, "1000")
    world.wait_condition("cascade", "chat", "WithinBudget", "True", "Kept")
    world.wait(
        "the paid API answers again",
        lambda: "frontier" in _tiers(world.ask_all(_requests(PUBLIC, {}), at_once=4)),
    )


def _spend(world: World, dollars: str) -> None:
    """A Cascade that may spend so much in a day, and begins half of its requests at the paid API."""
    steps = [
        {"name": name, "tierRef": {"name": name}, "weight": {"initial": 1}} for name in ("small", "frontier")
    ]
    world.cascade("chat", tiers=steps, weights=FIXED, budget={"window": "Day", "maxUSD": dollars})


def _requests(word: str, headers: dict[str, str]) -> list[dict[str, object]]:
    """Half of them streams."""
    question = f"What is {word}?"
    return [
        {"model": "chat", "question": question, "headers": headers, "stream": number % 2 == 1}
        for number in range(REQUESTS)
    ]


def _tiers(answers: list[Answer]) -> set[str | None]:
    """Of streams that were judged, the final comment says it; the headers of the others do."""
    return {answer.tier for answer in answers}
