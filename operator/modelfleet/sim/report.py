"""What a run says: numbers for machines, and one page for people that needs no network."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from html import escape
from itertools import accumulate
from typing import Any

from modelfleet.sim.fleet import Cascade
from modelfleet.sim.tally import Slice, Tally

_MINUTES_H = 60
_ROW_PX = 300
_TICKS = 8  # of replicas


@dataclass(frozen=True, slots=True)
class Result:
    """One policy on one load.  Times in seconds, shares from 0 to 1; None where nothing was measured."""

    policy: str
    requests: int
    attainment: float
    gpu_hours: float
    usd: float
    ttft_p95_s: float | None
    ttft_p99_s: float | None
    itl_p95_s: float | None
    quality: float | None
    share_last: float
    share_last_worst_hour: float
    flips_per_day: float
    changes: int
    poor_minutes: int
    refused: int


Run = tuple[Result, Tally]


def result(policy: str, tally: Tally) -> Result:
    """The numbers of a finished run."""
    return Result(
        policy=policy,
        requests=tally.arrivals,
        attainment=tally.attainment,
        gpu_hours=tally.gpu_h,
        usd=tally.usd,
        ttft_p95_s=tally.ttft.quantile_s(0.95),
        ttft_p99_s=tally.ttft.quantile_s(0.99),
        itl_p95_s=tally.itl.quantile_s(0.95),
        quality=tally.quality,
        share_last=tally.share_last,
        share_last_worst_hour=tally.share_last_worst_hour(),
        flips_per_day=tally.flips_per_day,
        changes=sum(course.changes for course in tally.courses.values()),
        poor_minutes=tally.poor_minutes,
        refused=tally.refusals,
    )


def document(load: str, cascade: Cascade, runs: Sequence[Run]) -> dict[str, Any]:
    """Everything as JSON-ready values; `minutes` are what the page draws, by policy and in order of time."""
    return {
        "load": load,
        "slo": asdict(cascade.slo),
        "tiers": [tier.name for tier in cascade.tiers],
        "results": [asdict(found) for found, _ in runs],
        "minutes": {found.policy: [asdict(one) for one in tally.slices] for found, tally in runs},
    }


def page(load: str, cascade: Cascade, runs: Sequence[Run]) -> str:
    """A page with a table and plots, all in one file.  Needs plotly."""
    from plotly import graph_objects, io  # noqa: PLC0415  only who asks for a page pays for it
    from plotly.subplots import make_subplots  # noqa: PLC0415

    compared = _compared(cascade)
    loads = [f"{found.policy}: requests per second, and replicas (right)" for found, _ in runs]
    rows = len(runs) + len(compared)
    figure = make_subplots(
        rows=rows,
        cols=1,
        shared_xaxes=True,
        vertical_spacing=0.25 / rows,
        subplot_titles=[*loads, *compared],
        specs=[[{"secondary_y": True}] for _ in runs] + [[{}] for _ in compared],
    )
    for row, (found, tally) in enumerate(runs, start=1):
        hours = [one.at_s / 3600 for one in tally.slices]
        # One name in the legend for the same thing in every row.
        first = {"showlegend": row == 1}
        rate = [one.arrived / 60 for one in tally.slices]
        line = {"width": 1, "color": "#999"}
        figure.add_trace(
            graph_objects.Scatter(x=hours, y=rate, name="requests/s", legendgroup="load", line=line, **first),
            row=row,
            col=1,
        )
        for at, tier in enumerate(cascade.tiers):
            if tier.external:
                continue
            replicas = [one.replicas[at] if one.replicas else None for one in tally.slices]
            line = {"shape": "hv", "color": _COLOURS[at % len(_COLOURS)]}
            trace = graph_objects.Scatter(
                x=hours,
                y=replicas,
                name=f"replicas of {tier.name}",
                legendgroup=tier.name,
                line=line,
                **first,
            )
            figure.add_trace(trace, row=row, col=1, secondary_y=True)
        for place, values in enumerate(compared.values(), start=len(runs) + 1):
            line = {"color": _COLOURS[(row + 1) % len(_COLOURS)], "width": 1.5}
            trace = graph_objects.Scatter(
                x=hours,
                y=values(tally.slices),
                name=found.policy,
                legendgroup=found.policy,
                showlegend=place == len(runs) + 1,
                line=line,
            )
            figure.add_trace(trace, row=place, col=1)
    figure.update_layout(height=_ROW_PX * rows, template="plotly_white", hovermode="x unified")
    figure.update_yaxes(rangemode="tozero", secondary_y=False)
    most = max((sum(one.replicas) for _, tally in runs for one in tally.slices), default=0)
    figure.update_yaxes(
        rangemode="tozero", secondary_y=True, dtick=max(1, most // _TICKS), tick0=0, showgrid=False
    )
    figure.update_yaxes(rangemode="normal", row=len(runs) + 1, col=1)  # misses are a few percent
    figure.update_xaxes(title_text="hours", row=rows, col=1)
    plots: str = io.to_html(figure, include_plotlyjs=True, full_html=False)
    table = _table([found for found, _ in runs])
    return _PAGE % {"load": escape(load), "table": table, "plots": plots}


_COLOURS = ("#1f77b4", "#d62728", "#2ca02c", "#9467bd", "#ff7f0e", "#17becf", "#8c564b", "#e377c2", "#7f7f7f")
Values = Callable[[Sequence[Slice]], Sequence[float | None]]


def _compared(cascade: Cascade) -> Mapping[str, Values]:
    """What all policies are drawn in one plot for, by its title."""
    found: dict[str, Values] = {
        "served within the objectives, percent of each minute's requests": lambda slices: [
            100 * one.good / one.arrived if one.arrived else None for one in slices
        ],
        "time to the first token, p95 of each minute's requests, seconds": lambda slices: [
            one.ttft_p95_s for one in slices
        ],
    }
    for at, tier in enumerate(cascade.tiers):
        if at:
            found[f"entries that begin at {tier.name}, percent"] = _entries(at)
    if any(tier.usd_per_replica_hour or any(tier.usd_per_million_tokens) for tier in cascade.tiers):
        found["spent so far, US dollars"] = lambda slices: [*accumulate(one.usd for one in slices)]
    gpus = [0.0 if tier.external else tier.gpus for tier in cascade.tiers]
    found["GPU hours so far"] = lambda slices: [*accumulate(_gpus(one, gpus) / _MINUTES_H for one in slices)]
    return found


def _entries(at: int) -> Values:
    return lambda slices: [100 * one.entry[at] if one.entry else None for one in slices]


def _gpus(one: Slice, gpus: Sequence[float]) -> float:
    return sum(replicas * each for replicas, each in zip(one.replicas, gpus, strict=False))


def columns(found: Result) -> Mapping[str, str]:
    """One row of the table, by heading."""
    return {
        "policy": found.policy,
        "served within SLO": f"{100 * found.attainment:.2f} %",
        "GPU hours": f"{found.gpu_hours:.1f}",
        "USD": f"{found.usd:.2f}" if found.usd else "-",  # nobody told a price
        "TTFT p95": _seconds(found.ttft_p95_s),
        "TTFT p99": _seconds(found.ttft_p99_s),
        "ITL p95": _seconds(found.itl_p95_s),
        "right": "-" if found.quality is None else f"{100 * found.quality:.1f} %",
        "last tier": f"{100 * found.share_last:.1f} %",
        "its worst hour": f"{100 * found.share_last_worst_hour:.1f} %",
        "flips/day": f"{found.flips_per_day:.0f}",
        "poor minutes": str(found.poor_minutes),
        "refused": str(found.refused),
    }


def _seconds(value: float | None) -> str:
    if value is None:
        return "-"
    return f"{value * 1000:.0f} ms" if value < 1 else f"{value:.2f} s"


def _table(results: Sequence[Result]) -> str:
    head = "".join(f"<th>{escape(name)}</th>" for name in columns(results[0]))
    rows = ("".join(f"<td>{escape(value)}</td>" for value in columns(one).values()) for one in results)
    return f"<table><tr>{head}</tr>{''.join(f'<tr>{row}</tr>' for row in rows)}</table>"


_PAGE = """<!doctype html>
<html lang="en"><head><meta charset="utf-8"><title>modelfleet simulate: %(load)s</title>
<style>body{font-family:sans-serif;margin:2em}table{border-collapse:collapse}
td,th{padding:.3em .8em;text-align:right;border-bottom:1px solid #ddd}td:first-child,th:first-child{text-align:left}
</style></head><body><h1>%(load)s</h1>%(table)s%(plots)s</body></html>
"""
