"""What a run says: numbers for machines, and one page for people that needs no network."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from modelfleet.sim.fleet import Cascade
from modelfleet.sim.tally import Slice, Tally


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


def document(load: str, cascade: Cascade, runs: Sequence[tuple[Result, Tally]]) -> dict[str, Any]:
    """Everything as JSON-ready values."""
    return {
        "load": load,
        "slo": asdict(cascade.slo),
        "tiers": [tier.name for tier in cascade.tiers],
        "results": [asdict(found) for found, _ in runs],
    }


def page(load: str, cascade: Cascade, runs: Sequence[tuple[Result, Tally]]) -> str:
    """A page with a table and plots, all in one file.  Needs plotly."""
    from plotly import graph_objects, io  # noqa: PLC0415  only who asks for a page pays for it
    from plotly.subplots import make_subplots  # noqa: PLC0415

    rows = [f"requests per second and replicas: {found.policy}" for found, _ in runs]
    figure = make_subplots(
        rows=len(runs) + 2,
        cols=1,
        shared_xaxes=True,
        vertical_spacing=0.04,
        subplot_titles=[
            *rows,
            "served within the objectives, percent",
            "entry share of the last tier, percent",
        ],
        specs=[[{"secondary_y": True}] for _ in runs] + [[{}], [{}]],
    )
    for row, (found, tally) in enumerate(runs, start=1):
        hours = [one.at_s / 3600 for one in tally.slices]
        rate = [one.arrived / 60 for one in tally.slices]
        figure.add_trace(
            graph_objects.Scatter(x=hours, y=rate, name="requests/s", line={"width": 1}), row=row, col=1
        )
        for at, tier in enumerate(cascade.tiers):
            replicas = [one.replicas[at] if one.replicas else None for one in tally.slices]
            line = {"shape": "hv"}
            trace = graph_objects.Scatter(x=hours, y=replicas, name=f"{tier.name} replicas", line=line)
            figure.add_trace(trace, row=row, col=1, secondary_y=True)
        good = graph_objects.Scatter(x=hours, y=[_percent(one) for one in tally.slices], name=found.policy)
        figure.add_trace(good, row=len(runs) + 1, col=1)
        share = [100 * one.entry[-1] if one.entry else None for one in tally.slices]
        figure.add_trace(graph_objects.Scatter(x=hours, y=share, name=found.policy), row=len(runs) + 2, col=1)
    figure.update_layout(
        height=320 * (len(runs) + 2), template="plotly_white", title=f"modelfleet simulate: {load}"
    )
    figure.update_xaxes(title_text="hours", row=len(runs) + 2, col=1)
    plots: str = io.to_html(figure, include_plotlyjs=True, full_html=False)
    return _PAGE % {"load": load, "table": _table([found for found, _ in runs]), "plots": plots}


def columns(found: Result) -> Mapping[str, str]:
    """One row of the table, by heading."""
    return {
        "policy": found.policy,
        "served within SLO": f"{100 * found.attainment:.2f} %",
        "GPU hours": f"{found.gpu_hours:.1f}",
        "USD": f"{found.usd:.2f}",
        "TTFT p95": _seconds(found.ttft_p95_s),
        "TTFT p99": _seconds(found.ttft_p99_s),
        "ITL p95": _seconds(found.itl_p95_s),
        "right": "-" if found.quality is None else f"{100 * found.quality:.1f} %",
        "last tier": f"{100 * found.share_last:.1f} %",
        "flips/day": f"{found.flips_per_day:.0f}",
        "poor minutes": str(found.poor_minutes),
        "refused": str(found.refused),
    }


def _seconds(value: float | None) -> str:
    if value is None:
        return "-"
    return f"{value * 1000:.0f} ms" if value < 1 else f"{value:.2f} s"


def _percent(one: Slice) -> float | None:
    return 100 * one.good / one.arrived if one.arrived else None


def _table(results: Sequence[Result]) -> str:
    head = "".join(f"<th>{name}</th>" for name in columns(results[0]))
    rows = ("".join(f"<td>{value}</td>" for value in columns(one).values()) for one in results)
    return f"<table><tr>{head}</tr>{''.join(f'<tr>{row}</tr>' for row in rows)}</table>"


_PAGE = """<!doctype html>
<html lang="en"><head><meta charset="utf-8"><title>modelfleet simulate: %(load)s</title>
<style>body{font-family:sans-serif;margin:2em}table{border-collapse:collapse}
td,th{padding:.3em .8em;text-align:right;border-bottom:1px solid #ddd}td:first-child,th:first-child{text-align:left}
</style></head><body><h1>%(load)s</h1>%(table)s%(plots)s</body></html>
"""
