"""The figures for people: a table and a plot in docs/benchmarks.md, between its markers."""

import math
from collections.abc import Sequence
from typing import Any

from bench.capacity.cells import Cell
from bench.capacity.experiment import OURS, Experiment
from bench.capacity.fronts import Point
from bench.capacity.measure import Comparison, figure
from bench.figures import ROOT, Figure

PAGE = ROOT / "docs" / "benchmarks.md"
PLOT = ROOT / "docs" / "capacity-fronts.svg"
_MARKS = "<!-- capacity: written by make bench-capacity -->", "<!-- capacity: end -->"
_COLOURS = ("#d62728", "#1f77b4", "#2ca02c", "#9467bd", "#8c564b", "#e377c2", "#7f7f7f", "#bcbd22", "#17becf", "#ff7f0e")  # fmt: skip
_WIDE, _HIGH, _EDGE = 420, 300, 50


def reached(x: Experiment, found: Sequence[Comparison]) -> list[Figure]:
    """The quality side: the dear tier's share where ours was tuned for 99 %."""
    mean: dict[str, float | None] = {}
    worst: dict[str, float | None] = {}
    busy: dict[str, float | None] = {}
    for one in found:
        enough = [point for point in one.ours if point.attainment >= one.level]
        if one.fleet != "cascade" or not enough:
            continue
        constants = min(enough, key=lambda point: point.gpu_h).constants
        row = x.row(Cell(one.fleet, one.load, OURS[one.fleet], constants))
        if row is not None:
            mean[one.load], worst[one.load] = 100 * row["share_last"], 100 * row["share_last_worst_hour"]
            busy[one.load] = 100 * row["share_last_worst_busy_hour"]
    answers = "% of answers by the dear tier"
    return [
        *figure("cascade_share_percent", mean, answers, at_least=35),
        *figure("cascade_share_worst_busy_hour_percent", busy, answers, at_least=35, summed=min),
        *figure("cascade_share_worst_hour_percent", worst, answers, at_least=35, summed=min),
    ]


def document(written: dict[str, Any], found: Sequence[Comparison]) -> None:
    """Write both; what is between the markers is ours alone."""
    lines = [
        f"Run {written['date'][:10]} at {written['commit'][:10]} on {written['machine']}.",
        "",
        "| figure | value | range | target | met |",
        "| --- | ---: | ---: | ---: | --- |",
    ]
    lines += [_row(one) for one in written["figures"]]
    lines += [
        "",
        "Fronts at equal attainment (GPU hours of the whole day; the peer is the cheapest tuned one there):",
    ]
    lines += [
        "",
        "| load | fleet | at | ours | best tuned peer | oracle |",
        "| --- | --- | ---: | ---: | --- | ---: |",
    ]
    lines += [_compared(one) for one in found if one.best is not None and one.cost is not None]
    lines += ["", "Every peer as shipped, attainment and GPU hours:", ""]
    lines += _shipped(found)
    lines += ["", "![Attainment against GPU hours](capacity-fronts.svg)"]
    text = PAGE.read_text()
    start, end = (text.index(mark) for mark in _MARKS)
    PAGE.write_text("\n".join([text[:start] + _MARKS[0], "", *lines, "", text[end:]]))
    drawn = [one for one in found if one.ours and one.peers]
    PLOT.write_text(_plot(drawn[:6]))


def _row(one: dict[str, Any]) -> str:
    if one["value"] is None:
        return f"| `{one['name']}` | - | {one['why']} | {one['target']} | not measured |"
    met = {True: "yes", False: "**no**", None: ""}[one["met"]]
    span = "" if one["low"] == one["high"] else f"{one['low']:g} - {one['high']:g}"
    return f"| `{one['name']}` | {one['value']:g} {one['unit']} | {span} | {one['target']} | {met} |"


def _compared(one: Comparison) -> str:
    assert one.best is not None
    oracle = "not reached" if one.oracle is None else f"{one.oracle:.0f}"
    return (
        f"| {one.load} | {one.fleet} | {100 * one.level:.2f} % | {one.cost:.0f} |"
        f" {one.best[0]} {one.best[1]:.0f} | {oracle} |"
    )


def _shipped(found: Sequence[Comparison]) -> list[str]:
    names = list(found[0].shipped) if found else []
    lines = ["| load | fleet | " + " | ".join(names) + " |", "| --- | --- |" + " ---: |" * len(names)]
    for one in found:
        cells = [
            "-"
            if (point := one.shipped[name]) is None
            else f"{100 * point.attainment:.1f} % {point.gpu_h:.0f}"
            for name in names
        ]
        lines.append(f"| {one.load} | {one.fleet} | " + " | ".join(cells) + " |")
    return lines


def _plot(found: Sequence[Comparison]) -> str:
    """Small multiples: misses (logarithmic) over GPU hours; lower and further left is better."""
    columns = 2
    rows = math.ceil(len(found) / columns)
    parts = [_panel(one, at % columns * _WIDE, at // columns * _HIGH) for at, one in enumerate(found)]
    names = list(dict.fromkeys(name for one in found for name in ("ours", *one.peers)))
    legend = [
        f'<text x="{20 + 85 * at}" y="{rows * _HIGH + 20}" fill="{_COLOURS[at % len(_COLOURS)]}">{name}</text>'
        for at, name in enumerate(names)
    ]
    size = f'width="{columns * _WIDE + 60}" height="{rows * _HIGH + 30}"'
    style = "<style>text{font:11px sans-serif}</style>"
    ground = '<rect width="100%" height="100%" fill="white"/>'
    return f'<svg xmlns="http://www.w3.org/2000/svg" {size}>{style}{ground}{"".join(parts + legend)}</svg>\n'


def _panel(one: Comparison, left: float, top: float) -> str:
    sides = {"ours": one.ours, **one.peers}
    points = [point for side in sides.values() for point in side if point.attainment > 0.9]
    most = max((point.gpu_h for point in points), default=1.0)
    least = min((point.gpu_h for point in points), default=0.0)

    def place(point: Point) -> tuple[float, float]:
        across = (point.gpu_h - least) / max(1e-9, most - least)
        missed = min(0.0, max(-4.0, math.log10(max(1e-4, 1 - point.attainment))))
        down = (-1.0 - missed) / 3.0  # 10 % of misses on top, a hundredth of a percent at the bottom
        return left + _EDGE + across * (_WIDE - 2 * _EDGE), top + 30 + down * (_HIGH - 2 * _EDGE)

    drawn = [
        f'<text x="{left + _EDGE}" y="{top + 15}">{one.load}, {one.fleet}: misses over GPU hours</text>',
        f'<text x="{left + _EDGE}" y="{top + _HIGH - 8}">{least:.0f}</text>',
        f'<text x="{left + _WIDE - _EDGE}" y="{top + _HIGH - 8}">{most:.0f} GPU-h</text>',
        *(
            f'<text x="{left + 4}" y="{top + 34 + (_HIGH - 2 * _EDGE) * at / 3}">{label}</text>'
            for at, label in enumerate(("10 %", "1 %", "0.1 %", "0.01 %"))
        ),
    ]
    for at, (_name, side) in enumerate(sides.items()):
        colour = _COLOURS[at % len(_COLOURS)]
        places = [place(point) for point in sorted(side, key=lambda p: p.gpu_h) if point.attainment > 0.9]
        line = " ".join(f"{x:.1f},{y:.1f}" for x, y in places)
        drawn.append(f'<polyline points="{line}" fill="none" stroke="{colour}" stroke-opacity="0.5"/>')
        drawn += [f'<circle cx="{x:.1f}" cy="{y:.1f}" r="3" fill="{colour}"/>' for x, y in places]
    return "".join(drawn)
