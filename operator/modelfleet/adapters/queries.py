"""Everything that the capacity loop asks for: one row a number, each with its PromQL, its meaning and its unit.

A row covers the whole fleet, and rows of one group go as one request, so a look costs a handful of them.  The
operator's own reading of routers and engines (direct.py) computes the same rows from the same series.

Routers' metrics carry our own labels: fleet_namespace, cascade, tier, model_tier.  Engines' carry none, so what every
scrape of pods adds is used: `namespace` and `pod`, else the address in `instance`; the operator knows whose pod that
is.  Scrape every 5 to 15 s; at more than 30 s a window of one minute no longer holds the two scrapes that a rate
needs.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

from modelfleet.plan.load import INTERVAL_S, MEANS_S, RATE_S

# How a row is made from its series, all of them summed (or as said) over what `by` leaves out.
# Now: the gauge as it is.  Mean: of a gauge over the window.  Before: that mean of 15 s, as it was a window ago.
# Max: the largest now.  Age: seconds since the oldest sample.  Instances: how many scraped pods have such a series.
# Rate: a counter's per second over the window.  Increase: a counter's over the window.  Since: since the last look.
How = Literal["Now", "Mean", "Before", "Max", "Age", "Instances", "Rate", "Increase", "Since"]

POOL = ("fleet_namespace", "model_tier")
CASCADE = ("fleet_namespace", "cascade")
STEP = ("fleet_namespace", "cascade", "tier")
ENGINE = ("namespace", "pod", "instance")

GAUGE_MEAN_S = 15.0


@dataclass(frozen=True, slots=True)
class Query:
    """One row.  `series` after the first stand in for it where a pod has none of those before."""

    name: str
    group: str
    how: How
    series: tuple[str, ...]
    by: tuple[str, ...]
    means: str
    unit: str
    window_s: float = 0.0
    only: Mapping[str, tuple[str, ...]] = field(default_factory=dict)  # values of labels that count

    def promql(self, *, since_s: float = INTERVAL_S) -> str:
        """The query.  `since_s`: how long ago the last look was."""
        by = f"by ({', '.join(self.by)})"
        if self.how == "Max":
            return f"max {by} ({self._one('{}')})"
        if self.how == "Age":
            return f"time() - min {by} (timestamp({self.series[0]}))"
        if self.how == "Instances":
            each = f"count by ({', '.join((*self.by, 'instance'))}) ({self.series[0]})"
            return f"count {by} ({each})"
        return f"sum {by} ({self._one(_FORMS[self.how], since_s=since_s)})"

    def _one(self, form: str, *, since_s: float = 0.0) -> str:
        """What one series contributes.  A stand-in counts only for pods without the real one."""
        window = f"{self.window_s:g}s"
        parts = [
            form.format(name + self._matchers(), window=window, since=f"{round(since_s * 1000)}ms")
            for name in self.series
        ]
        alternatives = [parts[0]]
        for part, real in zip(parts[1:], self.series, strict=False):
            alternatives.append(f"{part} unless on ({', '.join(self.by)}) {real}")
        return " or ".join(alternatives)

    def _matchers(self) -> str:
        told = ", ".join(f'{label}=~"{"|".join(values)}"' for label, values in self.only.items())
        return f"{{{told}}}" if told else ""


_SINCE = "(({0} - last_over_time({0}[60s] offset {since})) >= 0 or {0} and last_over_time({0}[60s] offset {since}))"
_FORMS: Mapping[How, str] = {
    "Now": "{}",
    # A mean, because one scrape of a gauge that jumps is a coin toss; the last one where the window holds none.
    "Mean": "avg_over_time({0}[{window}]) or {0}",
    "Before": "avg_over_time({0}[15s] offset {window})",
    "Rate": "rate({}[{window}])",
    "Increase": "increase({}[{window}])",
    # Exact from look to look, where `increase` would extrapolate.  A counter below its old value began anew; one that
    # was not there may be as old as the router, so its first sample counts nothing.
    "Since": _SINCE,
}

_SHARE = ("fleet_namespace", "cascade", "model_tier")
_WAITING, _IN_FLIGHT = "requests_waiting", "requests_in_flight"
_TTFT, _ITL = "time_to_first_token_seconds", "inter_token_latency_seconds"

Row = tuple[str, How, str, tuple[str, ...], str, str]


def _of_routers(group: str, window_s: float, *rows: Row) -> tuple[Query, ...]:
    """Rows: name, how, series without our prefix, by, meaning, unit."""
    return tuple(
        Query(name, group, how, (f"modelfleet_router_{series}",), by, means, unit, window_s)
        for name, how, series, by, means, unit in rows
    )


_NOW = _of_routers(
    "now",
    GAUGE_MEAN_S,
    ("in_flight", "Mean", _IN_FLIGHT, POOL, "at a tier, waiting ones included, mean of 15 s", "requests"),
    ("age", "Age", _IN_FLIGHT, POOL, "since the oldest router's sample", "seconds"),
    ("routers", "Instances", _IN_FLIGHT, POOL, "router replicas that report on a tier", "replicas"),
    ("cascade_age", "Age", _IN_FLIGHT, CASCADE, "since the oldest router's sample", "seconds"),
    ("cascade_routers", "Instances", _IN_FLIGHT, CASCADE, "routers that report on a Cascade", "replicas"),
    ("waiting_router", "Now", _WAITING, POOL, "wait at routers for a place at a replica", "requests"),
)
_SINCE_LOOK = _of_routers(
    "since",
    0.0,
    ("arrived", "Since", "requests_started_total", CASCADE, "came since the last look", "requests"),
    ("answers", "Since", "requests_answered_total", _SHARE, "answers since the last look", "requests"),
    ("failed", "Since", "request_errors_total", CASCADE, "errors that clients saw, likewise", "requests"),
    (
        "ttft_since",
        "Since",
        f"{_TTFT}_bucket",
        (*_SHARE, "le"),
        "first tokens within le, likewise",
        "streams",
    ),
    (
        "itl_since",
        "Since",
        "answer_inter_token_seconds_bucket",
        (*_SHARE, "le"),
        "answers whose tokens came le apart on average, likewise",
        "streams",
    ),
)
_MINUTE = (
    *_of_routers(
        "minute",
        RATE_S,
        (
            "ttft",
            "Increase",
            f"{_TTFT}_bucket",
            (*POOL, "le"),
            "first tokens within le, last minute",
            "streams",
        ),
        ("ttft_sum", "Increase", f"{_TTFT}_sum", POOL, "time to them, summed up", "seconds"),
        ("itl", "Increase", f"{_ITL}_bucket", (*POOL, "le"), "gaps within le, last minute", "gaps"),
        ("itl_sum", "Increase", f"{_ITL}_sum", POOL, "length of them, summed up", "seconds"),
        ("attempts", "Rate", "attempts_total", POOL, "attempts that ended, last minute", "1/second"),
        ("retries", "Rate", "retries_total", POOL, "those that were no request's first", "1/second"),
        ("before", "Before", _IN_FLIGHT, POOL, "in flight a minute ago, mean of 15 s", "requests"),
        (
            "scores_now",
            "Increase",
            "score_bucket",
            (*STEP, "le"),
            "answers whose score is at most le, last minute",
            "requests",
        ),
    ),
    Query(
        "turned_away",
        "minute",
        "Rate",
        ("modelfleet_router_turned_away_total",),
        POOL,
        "came and found the line too long",
        "1/second",
        RATE_S,
        only={"reason": ("QueueFull", "TooLate")},
    ),
)
_LATELY = (
    *_of_routers(
        "lately",
        MEANS_S,
        (
            "tokens",
            "Increase",
            "tokens_total",
            (*POOL, "type"),
            "of answers, given up ones too, 10 min",
            "tokens",
        ),
        (
            "answer_sum",
            "Increase",
            "request_duration_seconds_sum",
            POOL,
            "time of answers, likewise",
            "seconds",
        ),
        ("answer_count", "Increase", "request_duration_seconds_count", POOL, "answers, likewise", "requests"),
        ("in_flight_mean", "Mean", _IN_FLIGHT, POOL, "in flight, mean of 10 min", "requests"),
        ("waiting_mean", "Mean", _WAITING, POOL, "of them, waited for a place", "requests"),
        ("judged", "Increase", "judged_total", STEP, "answers with a verdict, likewise", "requests"),
        (
            "escalated",
            "Increase",
            "escalations_total",
            STEP,
            "given up for the next tier's, likewise",
            "requests",
        ),
        (
            "scores",
            "Increase",
            "score_bucket",
            (*STEP, "le"),
            "answers whose score is at most le",
            "requests",
        ),
    ),
    Query(
        "scored",
        "lately",
        "Increase",
        ("modelfleet_router_judged_total",),
        STEP,
        "answers that the score alone decided about, 10 min",
        "requests",
        MEANS_S,
        only={"verdict": ("Accepted", "LowScore")},
    ),
    Query(
        "drafts",
        "lately",
        "Increase",
        ("modelfleet_router_attempts_total",),
        POOL,
        "attempts that made an answer, given up or not, 10 min",
        "requests",
        MEANS_S,
        only={"outcome": ("Answered", "Escalated")},
    ),
)
_HOUR = _of_routers(
    "hour",
    3600.0,
    (
        "started",
        "Increase",
        "requests_started_total",
        STEP,
        "by the tier they entered, last hour",
        "requests",
    ),
    ("answered", "Increase", "requests_answered_total", STEP, "by the tier that answered", "requests"),
)
_ENGINES = (
    Query(
        "engine_waiting",
        "engines",
        "Now",
        ("vllm:num_requests_waiting", "llamacpp:requests_deferred"),
        ENGINE,
        "taken and not worked on yet",
        "requests",
    ),
    Query(
        "kv_used",
        "engines",
        "Max",
        ("vllm:kv_cache_usage_perc", "vllm:gpu_cache_usage_perc"),
        ENGINE,
        "used part of the KV cache",
        "0 to 1",
    ),
    Query(
        "vllm_prompt",
        "engines",
        "Increase",
        ("vllm:prompt_tokens_total",),
        ENGINE,
        "prompt tokens, cached ones included, 10 min",
        "tokens",
        MEANS_S,
    ),
    Query(
        "vllm_cached",
        "engines",
        "Increase",
        ("vllm:prompt_tokens_cached_total", "vllm:prefix_cache_hits_total"),
        ENGINE,
        "of them cached",
        "tokens",
        MEANS_S,
    ),
    Query(
        "llama_prompt",
        "engines",
        "Increase",
        ("llamacpp:prompt_tokens_total",),
        ENGINE,
        "prompt tokens without cached ones, 10 min",
        "tokens",
        MEANS_S,
    ),
    Query(
        "llama_cached",
        "engines",
        "Increase",
        ("llamacpp:prompt_tokens_cached_total",),
        ENGINE,
        "cached prompt tokens, likewise",
        "tokens",
        MEANS_S,
    ),
)

TABLE: tuple[Query, ...] = (*_NOW, *_SINCE_LOOK, *_MINUTE, *_LATELY, *_HOUR, *_ENGINES)
COUNTS = Query(
    "counts",
    "counts",
    "Since",
    ("modelfleet_router_requests_started_total",),
    CASCADE,
    "came in every interval of 15 s, last 10 min: how uneven arrivals are",
    "requests",
)
QUERY_LABEL = "query"  # which row of its group a series answers


def groups(*, since_s: float) -> Mapping[str, str]:
    """Rows of one group as one query, whose series say by a label which row they answer."""
    joined: dict[str, list[str]] = {}
    for row in TABLE:
        text = f'label_replace({row.promql(since_s=since_s)}, "{QUERY_LABEL}", "{row.name}", "", "")'
        joined.setdefault(row.group, []).append(text)
    return {group: " or ".join(rows) for group, rows in joined.items()}


def counts() -> str:
    """COUNTS as a matrix, at whole multiples of the interval: two looks see the same intervals."""
    return f"({COUNTS.promql(since_s=INTERVAL_S)})[{MEANS_S:g}s:{INTERVAL_S:g}s]"
