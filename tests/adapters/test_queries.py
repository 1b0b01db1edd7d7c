"""Every row of the table: what Prometheus makes of it, and that routers and engines really expose its series."""

import json
import re
import subprocess
from pathlib import Path

import pytest
from prometheus_client import generate_latest
from prometheus_client.parser import text_string_to_metric_families

from modelfleet.adapters import queries
from modelfleet.adapters.queries import TABLE, Query
from modelfleet.router.metrics import RouterMetrics
from tests.adapters.prometheus_process import program
from tests.recorded import RECORDED

ROWS_BY_NAME = {row.name: row for row in (*TABLE, queries.COUNTS)}
STEP = 'fleet_namespace="team",cascade="chat",tier="s",model_tier="small"'
POOL = 'fleet_namespace="team",model_tier="small"'
ENGINE = 'namespace="team",pod="small-0"'
OF_POOL = {"fleet_namespace": "team", "model_tier": "small"}
OF_CASCADE = {"fleet_namespace": "team", "cascade": "chat"}
OF_SHARE = {**OF_CASCADE, "model_tier": "small"}
OF_STEP = {**OF_CASCADE, "tier": "s"}
OF_ENGINE = {"namespace": "team", "pod": "small-0", "instance": "a"}

Told = tuple[str, str, dict[str, str], str, dict[str, str], float]


def router(series: str, labels: str, *values: str) -> dict[str, str]:
    """The same series of routers a, b, ..."""
    return {
        f'modelfleet_router_{series}{{{labels},instance="{name}"}}': told
        for name, told in zip("abc", values, strict=False)
    }


def engine(series: str, values: str) -> dict[str, str]:
    return {f'{series}{{{ENGINE},instance="a"}}': values}


IN_FLIGHT = "requests_in_flight"
# Row: of the table, scrape interval, series, when it is asked, labels and value of the answer.
ROWS: dict[str, Told] = {
    "a jumping gauge is averaged": ("in_flight", "5s", router(IN_FLIGHT, STEP, "8 0 8 0"), "10s", OF_POOL, 16 / 3),
    "routers add up": ("in_flight", "5s", router(IN_FLIGHT, STEP, "2 2", "3 3"), "5s", OF_POOL, 5),
    "scraped rarely: the last value": ("in_flight", "25s", router(IN_FLIGHT, STEP, "4 8"), "20s", OF_POOL, 4),
    "scraped rarely: its age shows": ("age", "25s", router(IN_FLIGHT, STEP, "4 8"), "20s", OF_POOL, 20),
    "the oldest router's age counts": ("age", "5s", router(IN_FLIGHT, STEP, "1 1 1 1", "1"), "15s", OF_POOL, 15),
    "a Cascade's age": ("cascade_age", "5s", router(IN_FLIGHT, STEP, "1 1 1 1", "1"), "15s", OF_CASCADE, 15),
    "a router that is gone is not counted": ("routers", "5s", router(IN_FLIGHT, STEP, "1 1", "1 stale"), "5s", OF_POOL, 1),
    "routers of a Cascade": ("cascade_routers", "5s", router(IN_FLIGHT, STEP, "1 1", "1 1"), "5s", OF_CASCADE, 2),
    "what waits now": ("waiting_router", "5s", router("requests_waiting", POOL, "0 4", "1 2"), "5s", OF_POOL, 6),
    "since the last look, to the request": ("arrived", "5s", router("requests_started_total", STEP, "0 7 7 9"), "15s", OF_CASCADE, 9),
    "since the last look: a counter that began anew counts whole": ("arrived", "5s", router("requests_started_total", STEP, "90 90 95 3 5"), "20s", OF_CASCADE, 5),
    "since the last look: a router that went counts no more": ("arrived", "5s", router("requests_started_total", STEP, "1 2 3 4", "5 9 9 stale"), "15s", OF_CASCADE, 3),
    "since the last look: a router that came counts from its second sample": ("arrived", "5s", router("requests_started_total", STEP, "1 2 3 4", "_ _ 500 500"), "15s", OF_CASCADE, 3),
    "since the last look: after a lost scrape its whole gain": ("arrived", "5s", router("requests_started_total", STEP, "1 2 stale 9"), "15s", OF_CASCADE, 8),
    "answers by tier": ("answers", "5s", router("requests_answered_total", STEP, "1 2 3 4"), "15s", OF_SHARE, 3),
    "errors of all kinds": ("failed", "5s", router("request_errors_total", f'{STEP},kind="Busy"', "1 2 3 4") | router("request_errors_total", f'{STEP},kind="Broken"', "0 0 0 2"), "15s", OF_CASCADE, 5),
    "first tokens since the last look": ("ttft_since", "5s", router("time_to_first_token_seconds_bucket", f'{STEP},le="0.5"', "1 2 3 4"), "15s", {**OF_SHARE, "le": "0.5"}, 3),
    "paces of answers since the last look": ("itl_since", "5s", router("answer_inter_token_seconds_bucket", f'{STEP},le="0.5"', "1 2 3 4"), "15s", {**OF_SHARE, "le": "0.5"}, 3),
    "first tokens of the last minute": ("ttft", "5s", router("time_to_first_token_seconds_bucket", f'{STEP},le="0.5"', "0+2x20"), "90s", {**OF_POOL, "le": "0.5"}, 24),
    "their time": ("ttft_sum", "5s", router("time_to_first_token_seconds_sum", STEP, "0+2x20"), "90s", OF_POOL, 24),
    "gaps of the last minute": ("itl", "5s", router("inter_token_latency_seconds_bucket", f'{STEP},le="0.5"', "0+2x20"), "90s", {**OF_POOL, "le": "0.5"}, 24),
    "their length": ("itl_sum", "5s", router("inter_token_latency_seconds_sum", STEP, "0+2x20"), "90s", OF_POOL, 24),
    "attempts per second, however they ended": ("attempts", "5s", router("attempts_total", f'{STEP},outcome="Answered"', "0+10x20") | router("attempts_total", f'{STEP},outcome="Reset"', "0+5x20"), "90s", OF_POOL, 3),
    "a counter that began anew is no negative rate": ("attempts", "5s", router("attempts_total", f'{STEP},outcome="Answered"', "0+10x10 0+10x10"), "90s", OF_POOL, 110 / 60),
    "retries per second": ("retries", "5s", router("retries_total", POOL, "0+5x20"), "90s", OF_POOL, 1),
    "only who found the line too long": ("turned_away", "5s", router("turned_away_total", f'{STEP},reason="QueueFull"', "0+5x20") | router("turned_away_total", f'{STEP},reason="NoReplica"', "0+50x20"), "90s", OF_POOL, 1),
    "in flight a minute ago": ("before", "5s", router(IN_FLIGHT, STEP, "7 7 7 9x20"), "70s", OF_POOL, 7),
    "tokens of ten minutes by type": ("tokens", "15s", router("tokens_total", f'{STEP},type="input"', "0+30x50"), "700s", {**OF_POOL, "type": "input"}, 1200),
    "time of answers": ("answer_sum", "15s", router("request_duration_seconds_sum", STEP, "0+30x50"), "700s", OF_POOL, 1200),
    "answers": ("answer_count", "15s", router("request_duration_seconds_count", STEP, "0+30x50"), "700s", OF_POOL, 1200),
    "drafts and answers": ("drafts", "15s", router("attempts_total", f'{STEP},outcome="Escalated"', "0+30x50") | router("attempts_total", f'{STEP},outcome="Reset"', "0+30x50"), "700s", OF_POOL, 1200),
    "in flight, ten minutes' mean": ("in_flight_mean", "15s", router(IN_FLIGHT, STEP, "4x50", "1x50"), "700s", OF_POOL, 5),
    "waiting, ten minutes' mean": ("waiting_mean", "15s", router("requests_waiting", POOL, "4x50", "1x50"), "700s", OF_POOL, 5),
    "judged": ("judged", "15s", router("judged_total", f'{STEP},verdict="Accepted"', "0+30x50"), "700s", OF_STEP, 1200),
    "escalated": ("escalated", "15s", router("escalations_total", f'{STEP},reason="LowScore"', "0+30x50"), "700s", OF_STEP, 1200),
    "scores": ("scores", "15s", router("score_bucket", f'{STEP},le="-1"', "0+30x50"), "700s", {**OF_STEP, "le": "-1"}, 1200),
    "answers that the score decided about": ("scored", "15s", router("judged_total", f'{STEP},verdict="LowScore"', "0+30x50") | router("judged_total", f'{STEP},verdict="Empty"', "0+30x50"), "700s", OF_STEP, 1200),
    "scores of the last minute": ("scores_now", "5s", router("score_bucket", f'{STEP},le="-1"', "0+2x20"), "90s", {**OF_STEP, "le": "-1"}, 24),
    "an hour's entries": ("started", "15s", router("requests_started_total", STEP, "0+1x300"), "3900s", OF_STEP, 240),
    "an hour's answers": ("answered", "15s", router("requests_answered_total", STEP, "0+1x300"), "3900s", OF_STEP, 240),
    "what waits in vLLM": ("engine_waiting", "5s", engine("vllm:num_requests_waiting", "3 4"), "5s", OF_ENGINE, 4),
    "what waits in llama.cpp": ("engine_waiting", "5s", engine("llamacpp:requests_deferred", "3 4"), "5s", OF_ENGINE, 4),
    "KV cache": ("kv_used", "5s", engine("vllm:kv_cache_usage_perc", "0.3 0.4"), "5s", OF_ENGINE, 0.4),
    "KV cache by its old name": ("kv_used", "5s", engine("vllm:gpu_cache_usage_perc", "0.3 0.4"), "5s", OF_ENGINE, 0.4),
    "vLLM's prompt tokens": ("vllm_prompt", "15s", engine("vllm:prompt_tokens_total", "0+30x50"), "700s", OF_ENGINE, 1200),
    "those that were cached": ("vllm_cached", "15s", engine("vllm:prompt_tokens_cached_total", "0+30x50"), "700s", OF_ENGINE, 1200),
    "those that were cached, told twice: counted once": ("vllm_cached", "15s", engine("vllm:prompt_tokens_cached_total", "0+30x50") | engine("vllm:prefix_cache_hits_total", "0+30x50"), "700s", OF_ENGINE, 1200),
    "those that were cached, by an older vLLM": ("vllm_cached", "15s", engine("vllm:prefix_cache_hits_total", "0+30x50"), "700s", OF_ENGINE, 1200),
    "llama.cpp's prompt tokens": ("llama_prompt", "15s", engine("llamacpp:prompt_tokens_total", "0+30x50"), "700s", OF_ENGINE, 1200),
    "llama.cpp's cached ones": ("llama_cached", "15s", engine("llamacpp:prompt_tokens_cached_total", "0+30x50"), "700s", OF_ENGINE, 1200),
    "arrivals of one interval": ("counts", "5s", router("requests_started_total", STEP, "0 7 7 9"), "15s", OF_CASCADE, 9),
}  # fmt: skip


def test_no_row_is_untried():
    assert {row[0] for row in ROWS.values()} == set(ROWS_BY_NAME)


def test_what_prometheus_makes_of_every_row(tmp_path: Path):
    tests = [
        {
            "name": name,
            "interval": interval,
            "input_series": [{"series": one, "values": values} for one, values in series.items()],
            "promql_expr_test": [
                {
                    "expr": ROWS_BY_NAME[row].promql(since_s=15.0),
                    "eval_time": at,
                    "exp_samples": [{"labels": _labels(labels), "value": want}],
                }
            ],
        }
        for name, (row, interval, series, at, labels, want) in ROWS.items()
    ]
    file = tmp_path / "rows.yaml"
    file.write_text(json.dumps({"rule_files": [], "evaluation_interval": "5s", "tests": tests}))
    done = subprocess.run(
        [program("promtool"), "test", "rules", file], capture_output=True, text=True, check=False
    )

    assert done.returncode == 0, done.stdout + done.stderr


def _labels(labels: dict[str, str]) -> str:
    return "{" + ", ".join(f'{name}="{value}"' for name, value in labels.items()) + "}"


def test_every_series_of_a_row_exists_from_the_moment_a_tier_is_known():
    metrics = RouterMetrics("team")
    metrics.tier("chat", "s", "small").judges = True
    metrics.pool("small")
    page = generate_latest(metrics.registry()).decode()
    exposed = _exposed(page)

    for row in _of_routers():
        labels = exposed[row.series[0]]
        assert set(row.by) - {"instance"} <= labels.keys(), row.name
        for label, values in row.only.items():
            told = set(re.findall(rf'{row.series[0]}{{[^}}]*{label}="(\w+)"', page))
            # Escalations are counted from the first one on: until then there is nothing to count.
            assert set(values) <= told | {"Escalated"}, row.name


def _of_routers() -> list[Query]:
    return [row for row in ROWS_BY_NAME.values() if row.group != "engines"]


RECORDINGS = {
    "vllm-0.32.0/metrics-idle.txt": ["engine_waiting", "kv_used", "vllm_prompt", "vllm_cached"],
    "vllm-0.32.0/metrics-loaded.txt": ["engine_waiting", "kv_used", "vllm_prompt", "vllm_cached"],
    "llama.cpp/metrics-idle.txt": ["engine_waiting", "llama_prompt", "llama_cached"],
    "llama.cpp/metrics-loaded.txt": ["engine_waiting", "llama_prompt", "llama_cached"],
}


@pytest.mark.parametrize(("recording", "rows"), RECORDINGS.items(), ids=RECORDINGS)
def test_what_engines_expose(recording: str, rows: list[str]):
    exposed = _exposed((RECORDED / recording).read_text())
    found = [
        row.name for row in ROWS_BY_NAME.values() if row.group == "engines" and set(row.series) & set(exposed)
    ]

    assert found == rows


def _exposed(page: str) -> dict[str, dict[str, str]]:
    return {
        sample.name: sample.labels
        for family in text_string_to_metric_families(page)
        for sample in family.samples
    }


def test_no_group_is_too_long_for_an_address():
    """Gateways before a Prometheus refuse addresses beyond 8 KiB, and a query is twice as long in one."""
    for text in (*queries.groups(since_s=600.0).values(), queries.counts()):
        assert len(text) < 3000
        assert not re.search(r"\{\d|\{window", text)


DOCUMENT = Path(__file__).parents[2] / "docs" / "queries.md"
HEAD = """# What the operator asks Prometheus

One row a number, from `operator/modelfleet/adapters/queries.py`; rows of one group go as one request. Where Prometheus does
not answer, the operator computes the same rows from what it reads itself ([capacity](capacity.md#what-it-measures)). 15000ms
stands for the time since the last look.
"""


def test_the_document_has_every_row(request: pytest.FixtureRequest):
    lines = [HEAD]
    for group in dict.fromkeys(row.group for row in (*TABLE, queries.COUNTS)):
        lines += [
            f"\n## {group.capitalize()}\n\n| number | meaning | unit | PromQL |\n| --- | --- | --- | --- |\n"
        ]
        for row in (row for row in (*TABLE, queries.COUNTS) if row.group == group):
            text = queries.counts() if row is queries.COUNTS else row.promql(since_s=15.0)
            promql = text.replace("|", "\\|")
            lines.append(f"| {row.name} | {row.means} | {row.unit} | `{promql}` |\n")
    if request.config.getoption("--update-golden"):
        DOCUMENT.write_text("".join(lines))

    assert DOCUMENT.read_text() == "".join(lines)
