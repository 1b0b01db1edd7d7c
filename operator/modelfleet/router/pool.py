"""The replicas of one ModelTier as this router sees them, shared by all Cascades that name the tier.

Every attempt takes a place at a replica here and gives it back with how it ended.  When no place is free, requests
wait in line: in order of arrival, and between tenants in turn (route/fair.py).  Whoever waits always waits for
something: a free place never stays free while a waiting request could have it, and when no replica is left that may
have requests, nobody is left waiting.  Unless the tier sleeps: then its first replica is on its way, and some may wait
for that.
"""

import logging
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any, Final

from modelfleet.api.route_table import ColdRule
from modelfleet.route import affinity, choose, health, waiting, warmup
from modelfleet.route.budget import RetryBudget
from modelfleet.route.fair import FairLine, cost, guess
from modelfleet.route.rate import Rate
from modelfleet.router.metrics import PoolStats, TierStats
from modelfleet.router.upstream import Replica
from modelfleet.router.waiter import Waiter, Wish

_log = logging.getLogger(__name__)

_WAITING_MIN: Final = 16
_EXTERNAL_WAITING_MAX: Final = 64  # an external API has no limit of ours, except while it comes back
# Of bodies, of those who wait for the first replica: it takes minutes, and each is in memory about three times.
HELD_BYTES_MAX = 32 * 1024 * 1024
_HOLD_GAIN: Final = 0.1  # of the newest answer in the mean


def _nobody(_waits: Callable[[], bool]) -> None:
    """Nobody can wake the tier."""


class Pool:
    """Places at replicas, and the line before them."""

    __slots__ = (
        "_called_s", "_concurrency", "_held_max", "_line", "_per_replica", "_prefix_characters", "_spin", "_start_s", "_told",
        "_wake", "_warmup", "budget", "cold", "external", "hold_s", "rate", "replicas", "stats",
    )  # fmt: skip

    def __init__(
        self,
        stats: PoolStats,
        *,
        external: bool,
        spin: Callable[[], float],
        wake: Callable[[Callable[[], bool]], None] = _nobody,
    ) -> None:
        """`wake` is called with what says whether requests still wait."""
        self.stats = stats
        self.external = external
        self.replicas: tuple[Replica, ...] = ()
        self.budget = RetryBudget()
        self.hold_s = 0.0  # how long an answered request held its place, on average; 0 until one did
        self._warmup: warmup.Warmup[Replica] = warmup.Warmup()
        self._spin = spin
        self._concurrency: int | None = None  # places at one replica
        self._per_replica = 0  # waiting requests
        self._prefix_characters = 0  # of what decides for a replica; 0: only its load does
        self._line: FairLine[Waiter, Wish] = FairLine()
        self.rate: Rate | None = None  # how often an API may be asked
        self._told: tuple[TierStats, ...] = ()
        self.cold: ColdRule | None = None
        self._wake = wake
        self._held_max = 0  # requests that may wait for the first replica
        self._called_s: float | None = None  # when the first of them came
        self._start_s = 0.0  # from there until a replica was ready, last time; 0: never seen

    @property
    def waiting_max(self) -> int:
        """How many requests may wait."""
        if self.external:
            return _EXTERNAL_WAITING_MAX
        return max(_WAITING_MIN, self._per_replica * len(self.replicas))

    @property
    def sleeps(self) -> bool:
        """There is no replica, and a request may wait for the first one."""
        return self.cold is not None and not self.replicas

    def held(self) -> bool:
        """Whether somebody waits for the first replica."""
        return self.sleeps and len(self._line) > 0

    # What an exchange does.

    def enter(
        self,
        waiter: Waiter,
        tried: Collection[Replica],
        *,
        fields: Mapping[str, Any],
        turn: int,
        now_s: float,
        deadline_s: float,
    ) -> Replica | str | None:
        """A place at a replica; None: the waiter is in line; else why it can have neither, in one word.

        `fields`: the request's body.
        """
        self.stats.busy_s = now_s
        if tried:
            if len(tried) >= choose.ATTEMPTS_PER_TIER:
                return "Attempts"
            if not self._room(tried):
                return "NoReplica"
            if not self.budget.retry(now_s):
                return "RetryBudget"
            self.stats.retried += 1
        key = affinity.key(fields, self._prefix_characters) if self._prefix_characters else None
        replica = self._choose(tried, key, turn) if self.rate is None or self._in_turn(now_s) else None
        if replica is not None:
            self._give(replica, tried, now_s)
            return replica
        if self.cold is not None and not self.replicas:
            until_s = now_s + self.cold.hold_s
            return self._hold(waiter, Wish((), key, deadline_s, until_s, guess(waiter.size, fields)), now_s)
        full, loser = self._full(waiter, self.waiting_max)
        why = waiting.barrier(
            ahead=self._line.ahead(waiter.tenant),
            full=full,
            room=self._room(tried),
            hold_s=self.hold_s,
            left_s=deadline_s - now_s,
            rate_s=self.rate_s(now_s),
        )
        if why is None:
            wish = Wish(tried, key, deadline_s, deadline_s, guess(waiter.size, fields))
            self._join(waiter, wish, loser, "QueueFull")
        return why

    def _hold(self, waiter: Waiter, wish: Wish, now_s: float) -> str | None:
        """Have the tier woken, and the request wait for its first replica."""
        if self._called_s is None:
            self._called_s = now_s
        self._wake(self.held)
        full, loser = self._full(waiter, self._held_max)
        held_bytes = waiter.size + sum([one.size for one in self._line if one is not loser])
        if full or (len(self._line) and held_bytes > HELD_BYTES_MAX):
            return waiting.HOLD_FULL
        self._join(waiter, wish, loser, waiting.HOLD_FULL)
        self.stats.holds += 1
        return None

    def _full(self, waiter: Waiter, most: int) -> tuple[bool, Waiter | None]:
        """Whether a line of at most so many has no place for this one, and who would leave it for one to be."""
        if len(self._line) < most:
            return False, None
        loser = self._line.gives_way(waiter.tenant)
        return loser is None, loser

    def _join(self, waiter: Waiter, wish: Wish, loser: Waiter | None, why: str) -> None:
        if loser is not None:
            self.quit(loser)
            self.stats.displaced += 1
            loser.turned_away(why)
        self._line.join(waiter, wish, tenant=waiter.tenant, tokens=wish.tokens)
        self._count()

    def told(self, waiter: Waiter, used: tuple[int, int]) -> None:
        """The engine has told the input and output tokens of a request that got its place from the line."""
        self._line.correct(waiter.tenant, cost(used) - waiter.charged)
        waiter.charged = 0.0

    def takes(self, now_s: float, *, at_once: bool) -> bool:
        """Whether a request that comes now gets a place, or a place in line."""
        if at_once:
            free = any(replica.in_flight < replica.room for replica in self.replicas)
            return free and (self.rate is None or self._in_turn(now_s))
        return self._room(()) > 0

    def quit(self, waiter: Waiter) -> None:
        """The waiter does not wait any more."""
        self._line.quit(waiter)
        self._count()

    def _count(self) -> None:
        stats = self.stats
        stats.waiting, stats.tenants = len(self._line), self._line.tenants()
        stats.held = stats.waiting if self.sleeps else 0

    def leave(self, replica: Replica, outcome: str, *, since_s: float, now_s: float) -> None:
        """An attempt that began at `since_s` ended: its place goes to the next in line, its outcome on the record."""
        self.stats.busy_s = now_s
        replica.in_flight -= 1
        well = health.judge(outcome, external=self.external)
        if well:
            held_s = now_s - since_s
            self.hold_s += (held_s - self.hold_s) * (_HOLD_GAIN if self.hold_s else 1.0)
            replica.health.succeeded(now_s)
        elif well is False:
            why = replica.health.failed(now_s, fault=outcome if self.external else "")
            if why is not None:
                self._take_out(replica, why, now_s)
        if self.stats.waiting:
            self._admit(now_s)

    def pause(self, replica: Replica, asked_s: float, *, now_s: float) -> None:
        """An external API asks to be left alone for `asked_s`."""
        if self.external:
            self._take_out(replica, health.RESTS, now_s, at_least_s=asked_s)

    def retry_after_s(self, now_s: float) -> int:
        """When a client should ask again, in whole seconds."""
        if self.sleeps:
            waited_s = 0.0 if self._called_s is None else now_s - self._called_s
            return waiting.start_left_s(waited_s=waited_s, start_s=self._start_s)
        if self.replicas and all(replica.health.state == "Out" for replica in self.replicas):
            back_s = min(replica.health.until_s for replica in self.replicas)
            return max(1, min(int(health.RETRY_AFTER_MAX_S), round(back_s - now_s)))
        return waiting.retry_after_s(
            ahead=len(self._line), room=self._room(()), hold_s=self.hold_s, rate_s=self.rate_s(now_s)
        )

    # What the world does.

    def update(
        self,
        replicas: Sequence[Replica],
        *,
        concurrency: int | None,
        per_replica: int,
        prefix_characters: int = 0,
        cold: ColdRule | None = None,
        held_max: int = 0,
        now_s: float,
    ) -> None:
        """These are the replicas now, and the rules of their tier.  `held_max`: our part of what `cold` allows."""
        self._warmup.arrive(self.replicas, replicas, now_s)
        self.replicas = tuple(replicas)
        self.cold = cold
        self._held_max = held_max
        if self.replicas and self._called_s is not None:
            self._start_s, self._called_s = now_s - self._called_s, None
        self._count()
        self._concurrency = concurrency
        self._per_replica = per_replica
        self._prefix_characters = prefix_characters
        out = sorted(self._out(), key=lambda replica: replica.health.until_s)
        while not self.external and 2 * len(out) > len(self.replicas):
            out.pop(0).health.readmit(now_s)  # the tier has shrunk: half of what is left is more than before
        self.sweep(now_s)

    def limit(self, rate: Rate | None, told: Sequence[TierStats]) -> None:
        """An API's rate, and where the tokens of its answers are counted."""
        self.rate = rate
        self._told = tuple(told)

    def sweep(self, now_s: float) -> None:
        """Let time pass: replicas that are out come back step by step."""
        self._warmup.ramp(now_s)
        limit = health.UNLIMITED if self._concurrency is None else self._concurrency
        for replica in self.replicas:
            before = replica.health.state
            replica.room = replica.health.room(limit, now_s)
            if replica.health.state != before:
                self._tell(replica, before)
        self.stats.out = len(self._out())
        if len(self._line):
            self._admit(now_s)
            self._dismiss(now_s)

    def knock(self, now_s: float) -> None:
        """See whether an API can be reached of which nothing is known, or which could not be."""
        for replica in self.replicas if self.external else ():
            if replica.health.wants_knock(now_s):
                replica.knock(self._knocked)

    def _knocked(self, replica: Replica, outcome: str, now_s: float) -> None:
        """An API can be reached, or why it cannot."""
        if not outcome and replica.health.reached(now_s):
            self._tell(replica, "Out")
            self.sweep(now_s)
        elif outcome and health.judge(outcome, external=True) is False:
            replica.health.failed(now_s, fault=outcome)
            self._take_out(replica, "Unreachable", now_s)

    def outage(self) -> str:
        """Why no request reaches an external API from here, one word; empty: some may."""
        return self.replicas[0].health.outage() if self.external and self.replicas else ""

    def _take_out(self, replica: Replica, why: str, now_s: float, *, at_least_s: float = 0.0) -> None:
        others = sum(other is not replica for other in self._out())
        if replica not in self.replicas or not (
            self.external or health.may_leave(out=others, total=len(self.replicas))
        ):
            return
        before = replica.health.state
        replica.health.take_out(why, now_s=now_s, spin=self._spin(), at_least_s=at_least_s)
        replica.room = 0
        self.stats.ejected[why] += 1
        self.stats.out = len(self._out())
        if before != "Out":
            self._tell(replica, before)
        self._dismiss(now_s)

    def _tell(self, replica: Replica, before: str) -> None:
        _log.info(
            "replica changed its state",
            extra={
                "model_tier": self.stats.labels[1],
                "replica": f"{replica.host}:{replica.port}",
                "was": before,
                "state": replica.health.state,
                "reason": replica.health.reason,
            },
        )

    def _out(self) -> list[Replica]:
        return [replica for replica in self.replicas if replica.health.state in {"Out", "Probing"}]

    def _room(self, tried: Collection[Replica]) -> int:
        """Places, free or not, at the replicas that are not tried yet."""
        return sum(replica.room for replica in self.replicas if replica not in tried)

    def _choose(self, tried: Collection[Replica], key: int | None, turn: int) -> Replica | None:
        if self._warmup:
            return warmup.choose_of(self.replicas, tried=tried, turn=turn, wanted=key)
        if key is None:
            return choose.least_busy(self.replicas, tried=tried, turn=turn)
        return affinity.preferred(self.replicas, tried=tried, wanted=key)

    def _give(self, replica: Replica, tried: Collection[Replica], now_s: float) -> None:
        replica.in_flight += 1
        if self.rate is not None:
            self.rate.begin()
        if not tried:
            self.budget.request(now_s)  # those who were refused earn no retries

    def _in_turn(self, now_s: float) -> bool:
        """Whether the rate lets in one who comes now: nobody may be before it."""
        if len(self._line):
            self._admit(now_s)
        return not len(self._line) and not self.rate_s(now_s)

    def rate_s(self, now_s: float, *, first: bool = False) -> float:
        """When the rate lets in one who comes now, or the first in line: 0.0 now."""
        rate = self.rate
        if rate is None:
            return 0.0
        rate.told(
            tokens=sum(stats.tokens_in + stats.tokens_out for stats in self._told),
            answers=sum(stats.answered for stats in self._told),
        )
        ahead = 0 if first else len(self._line)
        return rate.wait_s(now_s, ahead=ahead, under_way=sum(one.in_flight for one in self.replicas))

    def _admit(self, now_s: float) -> None:
        """Free places to those in line, in turn."""
        while not self.rate_s(now_s, first=True) and (found := self._next()) is not None:
            waiter, wish, replica = found
            if now_s + self.hold_s > wish.deadline_s:
                self.quit(waiter)
                waiter.turned_away("TooLate")  # an answer that comes too late would keep others from theirs
                continue
            waiter.charged = self._line.serve(waiter)
            self._count()
            self._give(replica, wish.tried, now_s)
            waiter.admitted(replica)

    def _dismiss(self, now_s: float) -> None:
        """Room has shrunk, or time has passed: those who would wait for nothing leave the line."""
        for waiter, wish in self._line.seats():
            if self.sleeps and not wish.tried:
                why = waiting.HOLD_TIMEOUT if now_s >= wish.until_s else None
            else:
                why = None if self._room(wish.tried) else "NoReplica"
            if why is not None and waiter in self._line:
                self.quit(waiter)
                waiter.turned_away(why)

    def _next(self) -> tuple[Waiter, Wish, Replica] | None:
        for waiter, wish in self._line.in_turn():
            replica = self._choose(wish.tried, wish.key, 0)
            if replica is not None:
                return waiter, wish, replica
            if not wish.tried:
                return None  # no place is free at all
        return None
