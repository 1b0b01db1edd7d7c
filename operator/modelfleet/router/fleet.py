"""What the request path reads: one immutable value, swapped whole when the table or the endpoints change."""

import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace

import orjson

from modelfleet.api.route_table import CascadeRoute, TierRoute
from modelfleet.route import choose, spent
from modelfleet.route.course import Course, Places
from modelfleet.route.law import Law
from modelfleet.route.overflow import Share
from modelfleet.route.purse import Purse
from modelfleet.route.refusal import Refusal
from modelfleet.router.metrics import TierStats
from modelfleet.router.pool import Pool

# While there is no Cascade: enough to tell a client that its model is unknown, not that its body is too large.
_BODY_BYTES_MAX = 1 << 20


@dataclass(frozen=True, slots=True)
class Step:
    """One tier of a cascade, ready to be called."""

    route: TierRoute
    pool: Pool
    stats: TierStats
    path_prefix: bytes  # what stands before /chat/completions
    head: bytes  # header lines that every request to this tier carries: host, key, content type


@dataclass(frozen=True, slots=True)
class Passage:
    """Where one request may go.  Retries, escalations and overflow know no other steps than these."""

    route: CascadeRoute
    steps: tuple[Step, ...]  # cheapest first, at least one
    order: tuple[Step, ...]  # of its attempts: where it enters, and where it goes when that fails
    judges: bool  # one of the steps has an accept rule
    patient: bool  # it may take long until an answer begins: a stream is kept alive meanwhile
    share: Share | None  # of the requests that may overflow; None where the cascade has no such rule
    purse: Purse | None = None  # what this request may cost; None: there is no limit


@dataclass(slots=True)
class Line:
    """One cascade: its steps, its rules, and the ways of its requests.  Only `bounds` change, as one tuple."""

    route: CascadeRoute
    steps: tuple[Step, ...]
    bounds: tuple[int, ...]  # running sums of the entry weights
    passages: tuple[Passage, ...]  # of requests that nothing restricts, by the step where they enter
    share: Share | None
    course: Course
    law: Law | None = None  # that moves the entry weights; None: they are the table's
    # Of restricted requests, made when first needed: at most one for each set of steps and each entry among them.
    restricted: dict[tuple[Places, int], Passage] = field(default_factory=dict)

    def way(self, places: Places, drawn: int) -> Passage:
        """The way of a request that may use these places; `drawn`: where its weights let it enter."""
        if places is self.course.everywhere:
            return self.passages[drawn]
        start = self.course.start(places, drawn)
        found = self.restricted.get((places, start))
        if found is None:
            steps = tuple(self.steps[place] for place in places)
            found = passage(self.route, steps, places.index(start), self.share)
            self.restricted[places, start] = found
        return found


@dataclass(frozen=True, slots=True)
class Fleet:
    """All cascades by model name."""

    lines: Mapping[str, Line]
    body_bytes_max: int  # the largest of all cascades: the limit while the model is not known yet
    models: bytes  # the answer to GET /v1/models


def line(
    route: CascadeRoute, steps: tuple[Step, ...], share: Share | None = None, law: Law | None = None
) -> Line:
    return Line(
        route=route,
        steps=steps,
        bounds=choose.bounds([step.route.weight_permille for step in steps]),
        passages=tuple(passage(route, steps, start, share) for start in range(len(steps))),
        share=share,
        course=spent.course_of(route, time.time),
        law=law,
    )


def passage(route: CascadeRoute, steps: tuple[Step, ...], start: int, share: Share | None) -> Passage:
    """The way of a request that may use `steps` and enters at the one of index `start`."""
    judges = any(step.route.accept is not None for step in steps)
    order = choose.fallback(steps, start)
    if route.spent is not None:  # what is paid by the token comes last
        order = (*[s for s in order if s.route.external is None], *[s for s in order if s.route.external])
    patient = judges or any(step.route.cold is not None for step in order)
    return Passage(route=route, steps=steps, order=order, judges=judges, patient=patient, share=share)


def retry_after_s(steps: Sequence[Step], now_s: float) -> int | None:
    """When the first of these tiers may take a request again, in whole seconds; None where none has replicas."""
    return min(
        (step.pool.retry_after_s(now_s) for step in steps if step.pool.replicas or step.pool.cold),
        default=None,
    )


def timed(refused: Refusal, steps: Sequence[Step], now_s: float) -> Refusal:
    """The refusal, with the time after which one of these tiers may take the request, where it tells one."""
    if refused.retry_after_s is None:
        return refused
    return replace(refused, retry_after_s=retry_after_s(steps, now_s) or refused.retry_after_s)


def fleet(lines: Mapping[str, Line]) -> Fleet:
    return Fleet(
        lines=lines,
        body_bytes_max=max((one.route.max_body_bytes for one in lines.values()), default=_BODY_BYTES_MAX),
        models=models(lines),
    )


def models(names: Iterable[str]) -> bytes:
    """The answer to GET /v1/models that lists these."""
    found = [
        {"id": name, "object": "model", "created": 0, "owned_by": "modelfleet"} for name in sorted(names)
    ]
    return orjson.dumps({"object": "list", "data": found})
