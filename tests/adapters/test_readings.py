"""The operator's own reading comes to what Prometheus makes of the same scrapes, row by row."""

import json
import random
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from modelfleet.adapters import queries
from modelfleet.adapters.fleet_load import fleet_load
from modelfleet.adapters.pages import Page
from modelfleet.adapters.queries import Query
from modelfleet.adapters.readings import SERIES, Readings
from modelfleet.adapters.series import SeriesReader
from modelfleet.plan.load import CascadeLoad, TierLoad
from modelfleet.plan.snapshot import Name
from modelfleet.plan.targets import Pod, Targets
from tests.adapters.prometheus_process import program

READ_S, SINCE_S = 5, 15.0
GONE = -1.0
MARKED_S = 2  # after the scrapes: no window's edge is at a scrape, where versions of Prometheus differ
ROUTERS = tuple(Pod("team", f"router-{i}", f"10.0.0.{i}", 9090) for i in range(3))
ENGINES = (
    Pod("team", "small-0", "10.0.1.0", 8000, Name("team", "small")),
    Pod("team", "big-0", "10.0.1.1", 8000, Name("team", "big")),
)
_R = "modelfleet_router_"
_STEP = 'fleet_namespace="team",cascade="chat",tier="{0}",model_tier="{0}"'
OF_ROUTER = [
    *(
        f"{_R}{name}{{{_STEP.format(tier)}{more}}}"
        for tier in ("small", "big")
        for name, more in (
            ("requests_in_flight", ""),
            ("requests_started_total", ""),
            ("requests_answered_total", ""),
            ("request_errors_total", ',kind="Busy"'),
            ("attempts_total", ',outcome="Answered"'),
            ("attempts_total", ',outcome="Reset"'),
            ("turned_away_total", ',reason="QueueFull"'),
            ("turned_away_total", ',reason="NoReplica"'),
            ("tokens_total", ',type="input"'),
            ("request_duration_seconds_sum", ""),
            ("request_duration_seconds_count", ""),
            ("time_to_first_token_seconds_bucket", ',le="0.5"'),
            ("time_to_first_token_seconds_sum", ""),
            ("inter_token_latency_seconds_bucket", ',le="+Inf"'),
            ("inter_token_latency_seconds_sum", ""),
            ("answer_inter_token_seconds_bucket", ',le="0.05"'),
            ("answer_inter_token_seconds_bucket", ',le="+Inf"'),
            ("judged_total", ',verdict="Accepted"'),
            ("escalations_total", ',reason="LowScore"'),
            ("score_bucket", ',le="-1"'),
        )
    ),
    *(
        f'{_R}{name}{{fleet_namespace="team",model_tier="{tier}"}}'
        for tier in ("small", "big")
        for name in ("requests_waiting", "retries_total")
    ),
]
OF_ENGINE = {
    "small-0": [
        "vllm:num_requests_waiting{}",
        "vllm:kv_cache_usage_perc{}",
        "vllm:prompt_tokens_total{}",
        "vllm:prompt_tokens_cached_total{}",
        "vllm:prefix_cache_hits_total{}",
    ],
    "big-0": [
        "llamacpp:requests_deferred{}",
        "llamacpp:prompt_tokens_total{}",
        "llamacpp:prompt_tokens_cached_total{}",
    ],
}
GAUGES = ("in_flight", "requests_waiting", "usage_perc", "deferred")


@dataclass
class Scraped:
    """What every pod said at every scrape; None: it did not answer."""

    rounds: int
    series: dict[tuple[Pod, str], list[float | None]] = field(default_factory=dict)

    def read(self, *, marked_s: int = MARKED_S) -> Readings:
        readings, reader = Readings(), SeriesReader(SERIES)
        for at in range(self.rounds):
            for pod in (*ROUTERS, *ENGINES):
                lines = [
                    f"{name.replace('{}', '')} {values[at]!r}\n"
                    for (whose, name), values in self.series.items()
                    if whose == pod and values[at] is not None
                ]
                if lines:
                    readings.take(pod, Page(float(at * READ_S), reader.read("".join(lines))))
            readings.mark(float(at * READ_S + marked_s), (*ROUTERS, *ENGINES))
        return readings

    def for_promtool(self) -> list[dict[str, str]]:
        return [
            {
                "series": _labelled(name, pod),
                "values": " ".join("stale" if value is None else repr(value) for value in values),
            }
            for (pod, name), values in self.series.items()
        ]


def _labelled(name: str, pod: Pod) -> str:
    more = f'instance="{pod.address}:{pod.port}"'
    if pod.tier is not None:
        more += f',namespace="{pod.namespace}",pod="{pod.name}"'
    return name[:-1] + (", " if name[-2] != "{" else "") + more + "}"


def scraped(seed: int, *, rounds: int, faults: float = 0.02) -> Scraped:
    """Counters that grow unevenly and now and then begin anew, gauges that jump, and scrapes that are lost."""
    dice = random.Random(seed)
    told = Scraped(rounds)
    # Of what a router counted before it began anew since the last look, Prometheus' store can tell nothing.
    anew = {
        pod: {at for at in range(1, rounds - 4) if dice.random() < faults} for pod in (*ROUTERS, *ENGINES)
    }
    lost = {
        pod: {at for at in range(2, rounds - 3) if dice.random() < faults} for pod in (*ROUTERS, *ENGINES)
    }
    for pod, name in _all():
        value = 0.0
        values: list[float | None] = []
        for at in range(rounds):
            grown = float(dice.randint(0, 6))
            value = grown if _is_gauge(name) or at in anew[pod] else value + grown
            values.append(None if at in lost[pod] else value)
        told.series[pod, name] = values
    return told


def steady(seed: int, *, rounds: int) -> Scraped:
    """Counters that all grow evenly, and gauges that stay."""
    dice = random.Random(seed)
    told = Scraped(rounds)
    for pod, name in _all():
        grows = float(dice.randint(1, 6))
        told.series[pod, name] = [grows if _is_gauge(name) else grows * at for at in range(rounds)]
    return told


def _all() -> list[tuple[Pod, str]]:
    return [(pod, name) for pod in ROUTERS for name in OF_ROUTER] + [
        (pod, name) for pod in ENGINES for name in OF_ENGINE[pod.name]
    ]


def _is_gauge(name: str) -> bool:
    return any(word in name for word in GAUGES)


TO_THE_DIGIT = ("Now", "Before", "Max", "Age", "Instances", "Since")


def test_what_is_exact_agrees_whatever_happens(tmp_path: Path):
    # Windows of other rows are extrapolated by Prometheus where a scrape is lost or growth is uneven.
    rows = [row for row in queries.TABLE if row.how in TO_THE_DIGIT or row.name == "in_flight"]
    _promtool(tmp_path, [_case(scraped(seed, rounds=140), rows) for seed in range(5)])


def test_every_row_agrees_on_steady_load(tmp_path: Path):
    _promtool(tmp_path, [_case(steady(seed, rounds=800), list(queries.TABLE)) for seed in range(3)])


def test_arrivals_by_interval_agree(tmp_path: Path):
    told = scraped(7, rounds=140, faults=0.0)
    ((key, counts),) = told.read(marked_s=0).counts().items()
    labels = dict(zip(queries.CASCADE, key, strict=True))
    last_s = 139 * READ_S // 15 * 15
    case = {
        "name": "counts",
        "interval": f"{READ_S}s",
        "input_series": told.for_promtool(),
        "promql_expr_test": [
            {
                "expr": queries.COUNTS.promql(since_s=15.0),
                "eval_time": f"{last_s - 15 * back}s",
                "exp_samples": [{"labels": _text(labels), "value": count}],
            }
            for back, count in enumerate(reversed(counts))
        ],
    }
    _promtool(tmp_path, [case])

    assert len(counts) == 40


def _case(told: Scraped, rows: list[Query]) -> dict[str, object]:
    look = told.read().look(since_s=SINCE_S)
    found = {row.name: look.row(row) for row in rows}
    return {
        "interval": f"{READ_S}s",
        "input_series": told.for_promtool(),
        "promql_expr_test": [
            {
                "expr": f"round({row.promql(since_s=SINCE_S)}, 0.001)",
                "eval_time": f"{(told.rounds - 1) * READ_S + MARKED_S}s",
                "exp_samples": [
                    {"labels": _text(dict(zip(row.by, key, strict=True))), "value": round(value, 3)}
                    for key, value in found[row.name].items()
                ],
            }
            for row in rows
        ],
    }


def _text(labels: Mapping[str, str]) -> str:
    return "{" + ", ".join(f'{name}="{value}"' for name, value in labels.items() if value) + "}"


def _promtool(tmp_path: Path, cases: list[dict[str, object]]) -> None:
    file = tmp_path / "rows.yaml"
    file.write_text(json.dumps({"rule_files": [], "evaluation_interval": f"{READ_S}s", "tests": cases}))
    done = subprocess.run(
        [program("promtool"), "test", "rules", file], capture_output=True, text=True, check=False
    )

    assert done.returncode == 0, (done.stdout + done.stderr)[:8000]


IN_FLIGHT = f"{_R}requests_in_flight{{{_STEP.format('small')}}}"
STARTED = f"{_R}requests_started_total{{{_STEP.format('small')}}}"
TTFT = f'{_R}time_to_first_token_seconds_bucket{{{_STEP.format("small")},le="+Inf"}}'
SMALL, CHAT = Name("team", "small"), Name("team", "chat")

(TTFT_ROW,) = (row for row in queries.TABLE if row.name == "ttft")

# What routers a and b count of entries at every scrape (None: no answer), and what is known of it after the last one.
Story = tuple[list[float | None], list[float | None], tuple[float | None, int]]
STORIES: dict[str, Story] = {
    "two routers add up": ([0, 5, 9, 12], [0, 1, 1, 1], (13.0, 2)),
    "one began anew: it counts from zero, and what it gained before stays": (
        [0, 50, 2, 4],
        [0, 1, 1, 1],
        (55.0, 2),
    ),
    "one went: what it gained stays, it reports no more": ([0, 5, 9, 12], [0, 4, GONE, GONE], (16.0, 1)),
    "one came: only what it gains from then on": ([0, 5, 9, 12], [GONE, GONE, 700, 703], (15.0, 2)),
    "one did not answer once: its gain comes later, and it still counts": (
        [0, 5, 9, 12],
        [0, 1, None, 8],
        (20.0, 2),
    ),
    "one is silent now: its last word is believed for a moment": ([0, 5, 9, 12], [0, 1, 2, None], (14.0, 2)),
    "one is silent for long: what is left is told to be incomplete": (
        [0, 5, 9, 12, 14],
        [0, 1, None, None, None],
        (9.0, 1),
    ),
    "nobody answers any more: nothing is known": (
        [0, 5, None, None, None],
        [0, 1, None, None, None],
        (None, 0),
    ),
    "the first reading tells no gain": ([7], [8], (None, 2)),
}


@pytest.mark.parametrize("story", STORIES.values(), ids=STORIES)
def test_a_partial_answer_is_incomplete_and_never_a_zero(story: Story):
    *counted, (arrived, routers) = story
    readings, reader = Readings(), SeriesReader(SERIES)
    for at, values in enumerate(zip(*counted, strict=True)):
        pods = [pod for pod, value in zip(ROUTERS, values, strict=False) if value != GONE]
        for pod, value in zip(ROUTERS, values, strict=False):
            if value is not None and value != GONE:
                readings.take(pod, Page(5.0 * at, reader.read(f"{IN_FLIGHT} 1\n{STARTED} {value}\n")))
        readings.mark(5.0 * at, pods)
    look = readings.look(since_s=15.0)
    rows = {row.name: look.row(row) for row in queries.TABLE}
    load = fleet_load(rows, readings.counts(), targets=Targets(), source="Direct", since_s=15.0)
    cascade = load.cascades.get(CHAT, CascadeLoad())

    assert (cascade.arrived, cascade.routers) == (arrived, routers)
    assert readings.answered == (routers > 0)
    tier = load.tiers.get(SMALL, TierLoad())
    assert tier.in_flight == (routers or None)
    assert tier.routers == routers


def test_a_window_that_is_not_full_tells_no_idleness():
    readings, reader = Readings(), SeriesReader(SERIES)
    counts = []
    for at in range(9):
        readings.take(ROUTERS[0], Page(5.0 * at, reader.read(f"{IN_FLIGHT} 0\n{TTFT} 4\n")))
        readings.mark(5.0 * at, ROUTERS)
        counts.append(len(readings.look(since_s=5.0).row(TTFT_ROW)))

    assert counts == [0] * 7 + [1] * 2  # from 35 s on


def test_arrivals_stop_at_a_gap_in_the_readings():
    readings, reader = Readings(), SeriesReader(SERIES)
    for at in (0, 5, 10, 15, 20, 60, 65, 70, 75, 80, 85, 90, 95):
        readings.take(ROUTERS[0], Page(float(at), reader.read(f"{STARTED} {at}\n")))
        readings.mark(float(at), ROUTERS)
    ((_, counts),) = readings.counts().items()

    assert counts == [15.0, 15.0]


def test_series_that_were_forgotten_gain_nothing(monkeypatch: pytest.MonkeyPatch):
    """A counter of a million is no million requests since the page before."""
    monkeypatch.setattr("modelfleet.adapters.series.SERIES_MAX", 3)
    readings, reader = Readings(), SeriesReader(SERIES)
    for at in range(6):
        # A label that is new each time: sooner or later any reader forgets.
        page = reader.read(f'{STARTED} {10**6 + at}\n{_R}requests_in_flight{{tier="{at}"}} 1\n')
        readings.take(ROUTERS[0], Page(5.0 * at, page, reader.age))
        readings.mark(5.0 * at, ROUTERS)
    look = readings.look(since_s=60.0)
    arrived = look.row(next(row for row in queries.TABLE if row.name == "arrived"))

    assert reader.age > 0
    assert sum(arrived.values()) <= 5
