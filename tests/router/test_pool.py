"""Places, the line before them, and replicas that are taken out and brought back."""

import asyncio
from dataclasses import dataclass, field
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from modelfleet.route.health import OUT_S, RETURN_S
from modelfleet.route.rate import Rate
from modelfleet.router.metrics import PoolStats, TierStats
from modelfleet.router.pool import Pool
from modelfleet.router.upstream import Replica

FAR_S = 1e9


@dataclass(eq=False)
class Ask:
    """A request that remembers what became of it."""

    tried: list[Replica] = field(default_factory=list)
    fields: dict[str, Any] = field(default_factory=dict)
    place: Replica | None = None
    told: list[str] = field(default_factory=list)
    tenant: str = ""
    size: int = 400
    charged: float = 0.0

    def admitted(self, replica: Replica) -> None:
        self.place = replica
        self.told.append("admitted")

    def turned_away(self, why: str) -> None:
        self.told.append(why)


class Desk:
    """A pool with a clock."""

    def __init__(
        self, replicas: int, *, concurrency: int | None = 2, per_replica: int = 0, **how: Any
    ) -> None:
        self.now_s = 1000.0
        prefix_characters = how.pop("prefix_characters", 0)
        self.pool = Pool(PoolStats(("ns", "t")), spin=lambda: 0.0, **{"external": False, **how})
        loop = asyncio.new_event_loop()
        self.all = [Replica("127.0.0.1", port, loop=loop) for port in range(1, 10)]
        loop.close()
        self.limits = {
            "concurrency": concurrency,
            "per_replica": per_replica,
            "prefix_characters": prefix_characters,
        }
        self.resize(replicas)

    def resize(self, count: int) -> None:
        self.pool.update(self.all[:count], **self.limits, now_s=self.now_s)

    def ask(self, ask: Ask | None = None, *, left_s: float = FAR_S) -> Ask:
        ask = ask or Ask()
        found = self.pool.enter(
            ask, ask.tried, fields=ask.fields, turn=0, now_s=self.now_s, deadline_s=self.now_s + left_s
        )
        if isinstance(found, Replica):
            ask.place = found
        elif found is not None:
            ask.told.append(found)
        return ask

    def end(self, ask: Ask, outcome: str = "Answered", *, held_s: float = 1.0) -> None:
        place, ask.place = ask.place, None
        assert place is not None
        self.pool.leave(place, outcome, since_s=self.now_s - held_s, now_s=self.now_s)

    def fail(self, times: int) -> None:
        """So many failures at the first replica."""
        for _ in range(times):
            self.all[0].in_flight += 1
            self.pool.leave(self.all[0], "Status5xx", since_s=self.now_s, now_s=self.now_s)

    def pass_s(self, seconds: float) -> None:
        self.now_s += seconds
        self.pool.sweep(self.now_s)


def test_places_are_given_in_order_of_arrival():
    desk = Desk(1)
    first, second, third, fourth = (desk.ask() for _ in range(4))

    assert [bool(ask.place) for ask in (first, second, third, fourth)] == [True, True, False, False]
    desk.end(second)
    desk.end(first)
    assert (third.told, fourth.told) == (["admitted"], ["admitted"])
    assert desk.pool.stats.waiting == 0


def test_who_left_the_line_is_passed_over():
    desk = Desk(1, concurrency=1)
    first, second, third = (desk.ask() for _ in range(3))
    desk.pool.quit(second)
    desk.end(first)

    assert (second.told, third.told) == ([], ["admitted"])


def test_a_full_line_refuses_at_once():
    desk = Desk(1, concurrency=1, per_replica=20)
    asks = [desk.ask() for _ in range(25)]

    assert [ask.told for ask in asks[21:]] == [["QueueFull"]] * 4
    assert desk.pool.stats.waiting == 20


def test_who_cannot_make_its_deadline_is_refused_at_once():
    desk = Desk(1, concurrency=1)
    desk.end(desk.ask(), held_s=4.0)
    desk.ask()

    assert desk.ask(left_s=7.0).told == ["TooLate"]
    assert desk.ask(left_s=9.0).told == []
    assert desk.pool.retry_after_s(desk.now_s) == 8


def test_who_waited_too_long_does_not_keep_others_from_their_place():
    desk = Desk(1, concurrency=1)
    desk.end(desk.ask(), held_s=4.0)
    busy, late, patient = desk.ask(), desk.ask(left_s=9.0), desk.ask()
    desk.now_s += 6.0
    desk.end(busy, held_s=6.0)

    assert (late.told, patient.told) == (["TooLate"], ["admitted"])


def test_a_new_replica_serves_the_line():
    desk = Desk(1, concurrency=1)
    desk.ask()
    waits = desk.ask()
    desk.resize(2)

    assert waits.place is desk.all[1]


def test_nobody_waits_for_a_tier_that_is_gone():
    desk = Desk(1, concurrency=1)
    desk.ask()
    waits = desk.ask()
    desk.resize(0)

    assert waits.told == ["NoReplica"]


def test_nobody_waits_for_the_replica_that_failed_it():
    desk = Desk(2, concurrency=1)
    desk.ask(), desk.ask()
    waits = desk.ask(Ask(tried=[desk.all[0]]))
    desk.resize(1)

    assert waits.told == ["NoReplica"]


def test_replica_that_fails_goes_out_and_comes_back_slowly():
    desk = Desk(2, concurrency=8)
    desk.fail(5)
    assert (desk.all[0].health.state, desk.all[0].room) == ("Out", 0)
    assert desk.ask().place is desk.all[1]

    desk.pass_s(OUT_S)
    probe, other = desk.ask(), desk.ask()
    assert (probe.place, other.place) == (desk.all[0], desk.all[1])
    desk.end(probe)
    desk.end(desk.ask())
    assert desk.all[0].health.state == "Returning"
    desk.pass_s(0.0)
    assert desk.all[0].room == 2
    desk.pass_s(RETURN_S)
    assert (desk.all[0].health.state, desk.all[0].room) == ("In", 8)
    assert desk.pool.stats.ejected["ConsecutiveFailures"] == 1


def test_the_only_replica_is_never_taken_out():
    desk = Desk(1)
    desk.fail(50)

    assert desk.all[0].health.state == "In"


def test_a_tier_that_shrinks_gets_its_sick_replica_back():
    desk = Desk(2)
    desk.fail(5)
    desk.resize(1)

    assert (desk.all[0].health.state, desk.all[0].room) == ("Probing", 1)


def test_external_api_is_left_alone_as_it_asks():
    desk = Desk(1, concurrency=None, external=True)
    ask = desk.ask()
    desk.pool.pause(desk.all[0], 30.0, now_s=desk.now_s)
    desk.end(ask, "RateLimited")

    assert desk.ask().told == ["NoReplica"]
    assert desk.pool.retry_after_s(desk.now_s) == 30
    desk.pass_s(29.9)
    assert desk.ask().told == ["NoReplica"]
    desk.pass_s(0.1)
    probe, waits = desk.ask(), desk.ask()
    assert (probe.place, waits.told) == (desk.all[0], [])
    desk.end(probe, "RateLimited")
    assert waits.told == ["NoReplica"]


def test_an_engine_of_ours_is_not_paused():
    desk = Desk(2)
    desk.pool.pause(desk.all[0], 30.0, now_s=desk.now_s)

    assert desk.all[0].health.state == "In"


def test_retries_stay_within_the_budget():
    desk = Desk(2, concurrency=100)
    for _ in range(10):
        desk.end(desk.ask())
    told = [desk.ask(Ask(tried=[desk.all[0]])).told for _ in range(5)]

    assert told == [[], [], [], ["RetryBudget"], ["RetryBudget"]]
    assert desk.pool.stats.retried == 3


def test_requests_that_begin_alike_meet():
    desk = Desk(3, concurrency=4, prefix_characters=10)
    for topic in ("Bern", "Rome", "Oslo", "Riga"):
        places = []
        for number in range(5):
            ask = desk.ask(Ask(fields={"prompt": f"{topic:10} {number}"}))
            places.append(ask.place)
            desk.end(ask)
        assert len(set(places)) == 1


def test_what_begins_alike_is_not_heaped_on_one_replica():
    desk = Desk(3, concurrency=4, prefix_characters=10)
    asks = [desk.ask(Ask(fields={"prompt": "the same"})) for _ in range(15)]

    assert [replica.in_flight for replica in desk.pool.replicas] == [4, 4, 4]
    for ask in asks[:12]:
        desk.end(ask)
    assert [bool(ask.place) for ask in asks[12:]] == [True] * 3


def api(per_minute: int | None = None, *, tokens: int | None = None) -> tuple[Desk, TierStats]:
    """An API with a rate, and where its tokens are counted."""
    desk, told = Desk(1, concurrency=None, external=True), TierStats(("ns", "c", "t", "t"))
    rate = Rate()
    rate.limit(requests=per_minute, tokens=tokens, routers=1, now_s=desk.now_s)
    desk.pool.limit(rate, [told])
    return desk, told


def test_what_the_rate_does_not_let_in_waits_for_it_in_order():
    desk, _ = api(24)  # two at once, and 23 more in the minute
    asks = [desk.ask() for _ in range(4)]
    assert [bool(ask.place) for ask in asks] == [True, True, False, False]

    desk.pass_s(2.7)
    late = desk.ask()
    assert (asks[2].told, asks[3].told, late.told) == (["admitted"], [], [])
    desk.pass_s(60.0)
    assert (asks[3].told, late.told) == (["admitted"], ["admitted"])


def test_nobody_passes_those_who_wait_for_the_rate():
    desk, _ = api(24)
    first, second, third = (desk.ask() for _ in range(3))
    desk.now_s += 2.7  # the next one may go, and nobody has looked yet
    late = desk.ask()

    assert (bool(first.place), bool(second.place)) == (True, True)
    assert (third.told, late.told, late.place) == (["admitted"], [], None)


def test_who_cannot_make_its_deadline_at_this_rate_is_refused_at_once():
    desk, _ = api(1)
    desk.ask()

    assert desk.ask(left_s=59.0).told == ["RateLimit"]
    assert desk.ask(left_s=61.0).told == []
    assert desk.ask(left_s=61.0).told == ["RateLimit"], "there is one before it"
    assert desk.pool.retry_after_s(desk.now_s) == 30


def test_a_line_before_a_rate_is_as_short_as_any():
    desk, _ = api(12)
    asks = [desk.ask() for _ in range(70)]

    assert [ask.told for ask in asks[1:65]] == [[]] * 64
    assert asks[65].told == ["RateLimit"]


def test_tokens_are_waited_for_too():
    desk, told = api(tokens=6000)
    first, second = desk.ask(), desk.ask()
    assert (bool(first.place), second.told) == (True, []), "nobody knows yet how many it takes"

    told.tokens_in, told.tokens_out, told.answered = 600, 400, 1
    desk.end(first)
    assert second.told == []
    desk.pass_s(6.0)
    assert second.told == ["admitted"]


def test_an_api_without_a_rate_takes_all():
    desk = Desk(1, concurrency=None, external=True)

    assert all(desk.ask().place for _ in range(200))


EVENTS = st.one_of(
    st.tuples(st.just("ask"), st.integers(0, 3)),
    st.tuples(st.just("end"), st.sampled_from(["Answered", "Status5xx", "Status5xx", "Cancelled"])),
    st.tuples(st.just("quit"), st.integers(0, 10)),
    st.tuples(st.just("resize"), st.integers(0, 5)),
    st.tuples(st.just("pass"), st.floats(0.0, 20.0)),
)


@settings(max_examples=150, deadline=None)
@given(st.lists(EVENTS, max_size=120), st.integers(1, 3))
def test_laws_hold_whatever_happens(events: list[tuple[str, Any]], concurrency: int):
    desk, asks = Desk(3, concurrency=concurrency), list[Ask]()
    for kind, value in events:
        if kind == "ask":
            asks.append(desk.ask(Ask(tried=desk.all[:value])))
        elif kind == "end" and (busy := [ask for ask in asks if ask.place]):
            desk.end(busy[0], value)
        elif kind == "quit" and (idle := [ask for ask in asks if ask in desk.pool._line]):
            desk.pool.quit(idle[value % len(idle)])
        elif kind == "resize":
            desk.resize(value)
        elif kind == "pass":
            desk.pass_s(value)
        _check(desk, asks, concurrency)


def _check(desk: Desk, asks: list[Ask], concurrency: int) -> None:
    replicas, line = desk.pool.replicas, desk.pool._line
    assert all(0 <= replica.room <= concurrency for replica in replicas)
    for replica in desk.all:
        assert replica.in_flight == sum(ask.place is replica for ask in asks)
        assert replica.in_flight <= concurrency
    # Nobody waits beside a free place, nobody waits for nothing, nobody is told two things.
    free = [replica for replica in replicas if replica.in_flight < replica.room]
    for ask in line:
        assert all(replica in ask.tried for replica in free)
        assert any(replica.room and replica not in ask.tried for replica in replicas)
    assert all(len(ask.told) <= 1 for ask in asks)
    assert len(line) <= desk.pool.waiting_max or desk.pool.waiting_max >= 16
    # Never more than half of a tier is out.
    assert 2 * sum(replica.health.state in {"Out", "Probing"} for replica in replicas) <= len(replicas)
