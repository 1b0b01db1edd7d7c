"""From the rows of the table (queries.py) to one FleetLoad, alike for both sources."""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from operator import itemgetter

from modelfleet.adapters import queries
from modelfleet.plan.buckets import Buckets
from modelfleet.plan.load import RATE_S, Answers, CascadeLoad, FleetLoad, StepLoad, TierLoad
from modelfleet.plan.snapshot import Name, SourceName
from modelfleet.plan.targets import Targets

Key = tuple[str, ...]  # values of a row's `by`
Numbers = Mapping[Key, float]
Arrivals = Mapping[Key, Sequence[float]]  # in equal intervals, by CASCADE
_VLLM, _LLAMA = ("vllm_prompt", "vllm_cached"), ("llama_prompt", "llama_cached")


def fleet_load(
    rows: Mapping[str, Numbers], arrivals: Arrivals, *, targets: Targets, source: SourceName, since_s: float
) -> FleetLoad:
    """One look.  `rows`: by name of the row; one that is missing tells nothing."""
    read = _Rows(rows, source)
    engines = _engines(read, targets)
    return FleetLoad(
        tiers={
            Name(*key): _tier(read, key, engines.get(Name(*key), _Engines()))
            for key in sorted(read.keys("in_flight") | read.keys("ttft_sum"))
        },
        started=_by_step(read, "started"),
        answered=_by_step(read, "answered"),
        cascades={
            Name(*key): _cascade(read, key, tuple(arrivals.get(key, ())))
            for key in sorted(read.keys("cascade_age") | read.keys("arrived"))
        },
        since_s=since_s,
    )


class _Rows:
    """Numbers by row and by the values of its labels."""

    def __init__(self, rows: Mapping[str, Numbers], source: SourceName) -> None:
        self.source = source
        self._rows: Mapping[str, Numbers] = {row.name: rows.get(row.name, {}) for row in queries.TABLE}
        # By row, one label and the others: made once, read for every tier or Cascade.
        self._parts: dict[tuple[str, ...], dict[Key, dict[str, float]]] = {}

    def keys(self, name: str) -> set[Key]:
        return set(self._rows[name])

    def one(self, name: str, key: Key) -> float | None:
        return self._rows[name].get(key)

    def items(self, name: str) -> Iterable[tuple[Key, float]]:
        return self._rows[name].items()

    def parts(self, name: str, by: tuple[str, ...], key: Key, label: str = "le") -> Mapping[str, float]:
        """Numbers by `label`, of the series with these values of `by`; summed over the labels that are left."""
        place = (name, label, *by)
        if place not in self._parts:
            labels = next(row.by for row in queries.TABLE if row.name == name)
            of, part = itemgetter(*map(labels.index, by)), labels.index(label)
            found: dict[Key, dict[str, float]] = {}
            for values, number in self._rows[name].items():
                mine = found.setdefault(of(values), {})
                mine[values[part]] = mine.get(values[part], 0.0) + number
            self._parts[place] = found
        return self._parts[place].get(key, {})

    def buckets(self, name: str, by: tuple[str, ...], key: Key, total: float | None = None) -> Buckets | None:
        counts = self.parts(name, by, key)
        bounds = ((_bound(le), count) for le, count in counts.items())
        return Buckets.of({bound: count for bound, count in bounds if bound is not None}, total=total)


def _bound(le: str) -> float | None:
    """The upper bound of a bucket; None where somebody's series has none."""
    try:
        bound = float(le)
    except ValueError:
        return None
    return None if math.isnan(bound) else bound


@dataclass(slots=True)
class _Engines:
    """What the engines of one tier told of themselves."""

    pods: int = 0
    waiting: float = 0.0
    kv_used: float | None = None
    prompt: float = 0.0
    cached: float = 0.0


def _engines(read: _Rows, targets: Targets) -> Mapping[Name, _Engines]:
    found: dict[Name, _Engines] = {}
    for name in ("engine_waiting", "kv_used", *_VLLM, *_LLAMA):
        for key, value in read.items(name):
            tier = targets.tier_of(dict(zip(queries.ENGINE, key, strict=True)))
            if tier is None:
                continue
            one = found.setdefault(tier, _Engines())
            if name == "engine_waiting":
                one.pods += 1
                one.waiting += value
            elif name == "kv_used":
                one.kv_used = max(value, one.kv_used or 0.0)
            # llama.cpp does not count what it found in its cache as processed, vLLM does.
            one.prompt += value if name in (_VLLM[0], *_LLAMA) else 0.0
            one.cached += value if name in (_VLLM[1], _LLAMA[1]) else 0.0
    return found


def _tier(read: _Rows, key: Key, engines: _Engines) -> TierLoad:
    drafts = read.one("drafts", key) or 0.0
    tokens = read.parts("tokens", queries.POOL, key, "type")
    known = {kind: tokens[kind] / drafts for kind in ("input", "output") if kind in tokens and drafts > 0}
    return TierLoad(
        in_flight=read.one("in_flight", key),
        age_s=read.one("age", key),
        routers=int(read.one("routers", key) or 0),
        rate_rps=_rate_rps(read, key),
        ttft=read.buckets("ttft", queries.POOL, key, read.one("ttft_sum", key)),
        itl=read.buckets("itl", queries.POOL, key, read.one("itl_sum", key)),
        answers=_answers(read, queries.POOL, key),
        prompt_tokens=known.get("input"),
        output_tokens=known.get("output"),
        cached_share=min(1.0, engines.cached / engines.prompt) if engines.prompt > 0 else None,
        answer_s=_answer_s(read, key),
        waiting_router=read.one("waiting_router", key),
        waiting_engines=engines.waiting if engines.pods else None,
        kv_used=engines.kv_used,
        engines=engines.pods,
        source=read.source,
    )


def _rate_rps(read: _Rows, key: Key) -> float | None:
    """What came is what ended, and what is more under way than before.

    Not in it: clients that left the line of a full tier.  In it: requests that found the line too long.
    """
    ended = read.one("attempts", key)
    if ended is None:
        return None
    now, before = read.one("in_flight", key), read.one("before", key)
    grown = 0.0 if now is None or before is None else (now - before) / RATE_S
    again, turned = read.one("retries", key) or 0.0, read.one("turned_away", key) or 0.0
    return max(0.0, ended - again + turned + grown)


def _answer_s(read: _Rows, key: Key) -> float | None:
    total_s, count = read.one("answer_sum", key), read.one("answer_count", key)
    if total_s is None or not count or count < 0:
        return None
    under_way, waited = read.one("in_flight_mean", key) or 0.0, read.one("waiting_mean", key) or 0.0
    # The part of the requests that waits at any time is the part of its time that a request waits (Little).
    waits = min(1.0, max(0.0, waited / under_way)) if under_way > 0 else 0.0
    return total_s / count * (1 - waits)


def _answers(read: _Rows, by: tuple[str, str], key: Key) -> Answers | None:
    counts = read.parts("answers", by, key, _OTHER[by])
    if not counts:
        return None
    ttft, itl = read.buckets("ttft_since", by, key), read.buckets("itl_since", by, key)
    return Answers(sum(counts.values()), ttft=ttft, itl=itl)


_OTHER = {queries.POOL: "cascade", queries.CASCADE: "model_tier"}


def _cascade(read: _Rows, key: Key, counts: tuple[float, ...]) -> CascadeLoad:
    steps = [read.parts(row, queries.CASCADE, key, "tier") for row in ("started", "judged")]
    return CascadeLoad(
        age_s=read.one("cascade_age", key),
        routers=int(read.one("cascade_routers", key) or 0),
        arrived=read.one("arrived", key),
        counts=counts,
        answers=_answers(read, queries.CASCADE, key),
        failed=read.one("failed", key),
        steps={
            name: StepLoad(
                judged=read.one("judged", (*key, name)),
                escalated=read.one("escalated", (*key, name)),
                scored=read.one("scored", (*key, name)),
                scores=read.buckets("scores", queries.STEP, (*key, name)),
                scores_now=read.buckets("scores_now", queries.STEP, (*key, name)),
            )
            for name in sorted({name for step in steps for name in step})
        },
        source=read.source,
    )


def _by_step(read: _Rows, name: str) -> dict[Name, dict[str, float]]:
    counts: dict[Name, dict[str, float]] = {}
    for (namespace, cascade, step), count in read.items(name):
        counts.setdefault(Name(namespace, cascade), {})[step] = count
    return counts
