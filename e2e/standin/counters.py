"""What /metrics says: names, labels and buckets as vLLM 0.32.0 has them (tests/fixtures/vllm-0.32.0/metrics-loaded.txt).

Only what somebody might scale on; the test compares every line with the recording.
"""

from bisect import bisect_left
from collections.abc import Sequence
from dataclasses import dataclass, field

_FIRST_S = (
    0.001, 0.005, 0.01, 0.02, 0.04, 0.06, 0.08, 0.1, 0.25, 0.5, 0.75, 1.0, 2.5, 5.0, 7.5, 10.0, 20.0, 40.0, 80.0, 160.0,
    640.0, 2560.0,
)  # fmt: skip
_TOKEN_S = (
    0.01, 0.025, 0.05, 0.075, 0.1, 0.15, 0.2, 0.3, 0.4, 0.5, 0.75, 1.0, 2.5, 5.0, 7.5, 10.0, 20.0, 40.0, 80.0,
)  # fmt: skip
_WHOLE_S = (
    0.3, 0.5, 0.8, 1.0, 1.5, 2.0, 2.5, 5.0, 10.0, 15.0, 20.0, 30.0, 40.0, 50.0, 60.0, 120.0, 240.0, 480.0, 960.0, 1920.0,
    7680.0,
)  # fmt: skip
_BLOCK_TOKENS = 16


@dataclass
class _Histogram:
    bounds: Sequence[float]
    sum_s: float = 0.0
    counts: list[int] = field(init=False)

    def __post_init__(self) -> None:
        self.counts = [0] * (len(self.bounds) + 1)

    def observe(self, value: float, times: int = 1) -> None:
        self.counts[bisect_left(self.bounds, value)] += times
        self.sum_s += value * times

    def lines(self, name: str, labels: str) -> list[str]:
        lines, total = [f"# TYPE vllm:{name} histogram"], 0
        for bound, count in zip((*self.bounds, float("inf")), self.counts, strict=True):
            total += count
            le = "+Inf" if bound == float("inf") else str(float(bound))
            lines.append(f'vllm:{name}_bucket{{engine="0",le="{le}",{labels}}} {float(total)}')
        lines.append(f'vllm:{name}_count{{engine="0",{labels}}} {float(total)}')
        lines.append(f'vllm:{name}_sum{{engine="0",{labels}}} {self.sum_s}')
        return lines


class Counters:
    """Of one engine.  Times in seconds of the clock."""

    def __init__(self, model: str, *, kv_tokens: int) -> None:
        self._labels = f'model_name="{model}"'
        self._blocks = kv_tokens // _BLOCK_TOKENS
        self._prompt = 0
        self._finished = {"stop": 0, "length": 0, "abort": 0, "error": 0}
        self._ttft, self._itl, self._tpot, self._e2e = (
            _Histogram(bounds) for bounds in (_FIRST_S, _TOKEN_S, _TOKEN_S, _WHOLE_S)
        )

    def came(self, *, prompt: int) -> None:
        """A request with so many tokens; nothing of it is cached."""
        self._prompt += prompt

    def first(self, seconds: float) -> None:
        """A first token, so long after its request."""
        self._ttft.observe(seconds)

    def done(self, *, whole_s: float, first_s: float, tokens: int) -> None:
        """A whole answer, and when its first token came."""
        self._finished["length"] += 1
        self._e2e.observe(whole_s)
        if tokens > 1:
            gap_s = (whole_s - first_s) / (tokens - 1)
            self._tpot.observe(gap_s)
            self._itl.observe(gap_s, tokens - 1)

    def left(self) -> None:
        """A client has gone before its answer was whole."""
        self._finished["abort"] += 1

    def text(self, *, running: int, waiting: int, kv_share: float, preemptions: int, tokens_out: int) -> str:
        """The exposition, with the gauges of this moment."""
        lines: list[str] = []
        for name, kind, value in (
            ("num_requests_running", "gauge", running),
            ("num_requests_waiting", "gauge", waiting),
            ("kv_cache_usage_perc", "gauge", kv_share),
            ("prefix_cache_queries_total", "counter", self._prompt),
            ("prefix_cache_hits_total", "counter", 0),
            ("num_preemptions_total", "counter", preemptions),
            ("prompt_tokens_total", "counter", self._prompt),
            ("prompt_tokens_cached_total", "counter", 0),
            ("generation_tokens_total", "counter", tokens_out),
        ):
            lines += [
                f"# TYPE vllm:{name} {kind}",
                f'vllm:{name}{{engine="0",{self._labels}}} {float(value)}',
            ]
        lines.append("# TYPE vllm:request_success_total counter")
        lines += [
            f'vllm:request_success_total{{engine="0",finished_reason="{reason}",{self._labels}}} {float(count)}'
            for reason, count in self._finished.items()
        ]
        lines += self._ttft.lines("time_to_first_token_seconds", self._labels)
        lines += self._itl.lines("inter_token_latency_seconds", self._labels)
        lines += self._tpot.lines("request_time_per_output_token_seconds", self._labels)
        lines += self._e2e.lines("e2e_request_latency_seconds", self._labels)
        lines.append("# TYPE vllm:cache_config_info gauge")
        lines.append(
            f'vllm:cache_config_info{{block_size="{_BLOCK_TOKENS}",engine="0",num_gpu_blocks="{self._blocks}"}} 1.0'
        )
        return "\n".join([*lines, ""])
