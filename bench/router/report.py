"""What was measured, as figures and as the generated part of docs/benchmarks.md."""

from collections.abc import Callable, Sequence
from typing import Any

from bench.figures import ROOT, Figure, known, missing, ranged
from bench.router.measure import Cost
from bench.router.rounds import GAP_MS, Seen
from bench.router.tables import HOLD_TOKENS
from bench.router.targets import OURS, OURS_CASCADE

PAGE = ROOT / "docs" / "benchmarks.md"
BEGIN, END = "<!-- router: written by make bench-router -->", "<!-- router: end -->"
PER_REQUEST = {"nginx": 2.0, "envoy": 0.8, "vllm_router": 0.6, "litellm": 0.004}
PER_CHUNK = {"nginx": 1.5, "envoy": 0.8, "vllm_router": 1.1}
TITLES = {
    "direct": "no proxy", "nginx": "nginx", "envoy": "Envoy", "vllm_router": "vllm-router (Rust)", "litellm": "LiteLLM proxy",
    OURS: "ours", OURS_CASCADE: "ours, every request judged, 20 % escalated",
}  # fmt: skip


def figures(seen: Seen) -> list[Figure]:
    """All figures, in the order of the page."""
    found = [
        _ratio(seen, f"cpu_per_request_vs_{peer}", "requests", OURS, peer, limit=limit)
        for peer, limit in PER_REQUEST.items()
    ]
    found += [
        _ratio(seen, f"cpu_per_chunk_vs_{peer}", "streams", OURS, peer, limit=limit)
        for peer, limit in PER_CHUNK.items()
    ]
    found += [
        _ratio(seen, "cpu_per_chunk_cascade_vs_nginx", "streams", OURS_CASCADE, "nginx", limit=2.5),
        _ratio(seen, "cascade_vs_passthrough", "requests", OURS_CASCADE, OURS, limit=1.3),
        _ratio(seen, "prompt_200kb_vs_nginx", "large", OURS, "nginx", limit=2.0),
        _cores(seen),
        *_added(seen),
        *_singles(seen),
        *_noise(seen),
    ]
    # They take real engines and minutes of their own: what was measured last stays.
    for name in ("logprob_cost_percent_llamacpp", "logprob_cost_percent_vllm"):
        why = "not measured yet: make bench-logprobs"
        found.append(known("router.json", name) or missing(name, "% fewer tokens/s", "", why))
    return found


def _best(seen: Seen, kind: str, target: str) -> float:
    """CPU microseconds of the cheapest run: noise only ever adds."""
    return min(cost.micros for cost in seen.costs[kind, target])


def _ratio(seen: Seen, name: str, kind: str, mine: str, theirs: str, *, limit: float) -> Figure:
    target = f"<= {limit:g}"
    for needed in (mine, theirs):
        if not seen.costs.get((kind, needed)):
            return missing(name, "x", target, seen.absent.get(needed, "not measured in this run"))
    pairs = zip(seen.costs[kind, mine], seen.costs[kind, theirs], strict=True)
    runs = [one.micros / other.micros for one, other in pairs]
    value = _best(seen, kind, mine) / _best(seen, kind, theirs)
    return ranged(name, value, [*runs, value], "x", at_most=limit, digits=4)


def _cores(seen: Seen) -> Figure:
    runs = [cost.micros / 10 for cost in seen.costs["crowd", OURS]]
    return ranged("cores_per_100k_tokens_per_s", min(runs), runs, "cores")


def _added(seen: Seen) -> list[Figure]:
    def each(kind: str, key: str, target: str) -> list[float]:
        return [cost.seen[key] for cost in seen.costs[kind, target]]

    def added(name: str, kind: str, key: str, *, limit: float | None = None, name_of: str = OURS) -> Figure:
        mine, base = each(kind, key, name_of), min(each(kind, key, "direct"))
        return ranged(name, min(mine) - base, [value - base for value in mine], "ms", at_most=limit)

    crowd = OURS_CASCADE if seen.costs.get(("crowd", OURS_CASCADE)) else OURS
    return [
        added("added_p50_ms", "paced", "ms_p50", limit=0.3),
        added("added_p99_ms", "paced", "ms_p99", limit=0.5),
        added("chunk_delay_p99_ms_1000_streams", "crowd", "delay_ms_p99", name_of=crowd),
    ]


def _singles(seen: Seen) -> list[Figure]:
    rss, cancels, flips = seen.rss_mib[OURS], sorted(seen.cancel_ms[OURS]), sorted(seen.flip_ms)
    lost = seen.flips - len(flips)
    load = seen.flip_load
    failed = load.failed if load is not None else 0
    found = [
        ranged("rss_mib", rss, [rss], "MiB", at_most=48, digits=1),
        ranged("cancel_ms", cancels[-1], cancels, "ms", at_most=100, digits=1),
        ranged(
            "weight_flip_failed_requests",
            failed + lost,
            [failed + lost],
            f"requests of {load.count if load else 0}, and flips without effect of {seen.flips}",
            at_most=0,
        ),
        _holdback(seen),
    ]
    if flips:
        middle = flips[len(flips) // 2]
        found.insert(1, ranged("weight_change_ms", middle, flips, "ms (median)", at_most=10, digits=2))
    return found


def _holdback(seen: Seen) -> Figure:
    """What holding back costs beyond the time in which the held tokens come."""
    name, target = "holdback_ttft_excess_ms", "<= 3"
    held, base = seen.costs.get(("streams", OURS_CASCADE)), seen.costs[("streams", "direct")]
    if not held:
        return missing(name, "ms", target, seen.absent.get(OURS_CASCADE, "not measured in this run"))
    # Not the median: what a tenth of the clients waits longer than is what they complain of.
    wait_ms = (HOLD_TOKENS - 1) * GAP_MS + min(cost.seen["first_ms_p90"] for cost in base)
    runs = [cost.seen["first_ms_p90"] - wait_ms for cost in held]
    return ranged(name, min(runs), runs, "ms (90th percentile)", at_most=3)


def _noise(seen: Seen) -> list[Figure]:
    shares = sorted(cost.foreign * 100 for costs in seen.costs.values() for cost in costs)
    spread = []
    for (kind, target), costs in seen.costs.items():
        if kind == "requests" and target != "direct":
            micros = [cost.micros for cost in costs]
            spread.append((max(micros) / min(micros) - 1) * 100)
    return [
        ranged("noise_foreign_cpu_percent", shares[len(shares) // 2], shares, "% of the proxy's core (median)", digits=1),
        ranged("noise_spread_percent", max(spread), spread, "% from best to worst run (largest)", digits=1),
    ]  # fmt: skip


def write_page(result: dict[str, Any], seen: Seen) -> None:
    """Put the tables between the page's markers."""
    page = PAGE.read_text()
    before, _, rest = page.partition(BEGIN)
    _, _, after = rest.partition(END)
    PAGE.write_text(f"{before}{BEGIN}\n\n{_text(result, seen)}\n{END}{after}")


def _text(result: dict[str, Any], seen: Seen) -> str:
    lines = [f"{result['date'][:10]}, {result['machine']}, commit {result['commit'][:12]}.", ""]
    head = (
        "",
        "requests/s",
        "µs/request",
        "µs/chunk",
        "µs/200 KB prompt",
        "p50 ms",
        "p99 ms",
        "leaves in ms",
        "MiB",
    )
    lines += [_row(head), _row(("---", *("---:",) * (len(head) - 1)))]
    lines += [_row(_cells(seen, name)) for name in TITLES if seen.costs.get(("requests", name))]
    lines += ["", _row(("figure", "value", "range", "unit", "target", "met")), _row(("---",) * 6)]
    for figure in result["figures"]:
        value = figure["why"] if figure["value"] is None else f"{figure['value']:g}"
        span = "" if figure["low"] is None else f"{figure['low']:g} .. {figure['high']:g}"
        met = {True: "yes", False: "**no**", None: ""}[figure["met"]]
        lines.append(_row((f"`{figure['name']}`", value, span, figure["unit"], figure["target"], met)))
    return "\n".join([*lines, ""])


def _cells(seen: Seen, name: str) -> Sequence[str]:
    def costs(kind: str, number: Callable[[Cost], float], *, digits: int = 1) -> str:
        values = [number(cost) for cost in seen.costs.get((kind, name), ())]
        if not values:
            return ""
        spread = f" ({min(values):.{digits}f}-{max(values):.{digits}f})" if digits == 1 else ""
        return f"{min(values):.{digits}f}{spread}"

    proxy = name != "direct"
    rate = max(cost.count / cost.seconds for cost in seen.costs["requests", name])
    cancels = seen.cancel_ms.get(name)
    return (
        TITLES[name],
        f"{rate:.0f}",
        costs("requests", lambda cost: cost.micros) if proxy else "",
        costs("streams", lambda cost: cost.micros) if proxy else "",
        costs("large", lambda cost: cost.micros) if proxy else "",
        costs("paced", lambda cost: cost.seen["ms_p50"], digits=2),
        costs("paced", lambda cost: cost.seen["ms_p99"], digits=2),
        f"{max(cancels):.0f}" if cancels else "",
        f"{seen.rss_mib[name]:.0f}" if name in seen.rss_mib else "",
    )


def _row(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cells)} |"
