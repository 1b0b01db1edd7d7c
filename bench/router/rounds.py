"""All measurements of one run: every target in turn, round after round, so that a noisy minute hits all alike."""

import socket
import time
from collections import defaultdict
from collections.abc import Iterator
from contextlib import ExitStack, closing, suppress
from dataclasses import dataclass, field
from pathlib import Path

from bench.router import peers, processes
from bench.router.measure import Bench, Cost, engine
from bench.router.tables import ROUTERS, tables
from bench.router.targets import OURS, OURS_CASCADE, PROXIES, Site, Target, running
from e2e.cluster.controlplane import free_ports
from modelfleet import names

# One core of it answers so slowly that less load says as much.
SLOW = "litellm"
STREAMS, SLOW_STREAMS = 64, 8
GAP_MS = 20
RATE, SLOW_RATE = 200.0, 20.0
CROWD, CROWD_GAP_MS, CROWD_TOKENS = 1000, 50, 40
FLIPS, FLIP_PAUSE_S = 120, 0.05
CANCELS = 20


@dataclass(frozen=True)
class Lengths:
    """How long each measurement takes, in seconds."""

    requests: float = 3.0
    streams: float = 2.0
    paced: float = 3.0
    large: float = 1.0


@dataclass
class Seen:
    """Everything that was measured; costs by kind and target, one per round."""

    costs: dict[tuple[str, str], list[Cost]] = field(default_factory=lambda: defaultdict(list))
    rss_mib: dict[str, float] = field(default_factory=dict)
    cancel_ms: dict[str, list[float]] = field(default_factory=dict)
    flip_ms: list[float] = field(default_factory=list)  # time to effect of those flips that took effect
    flips: int = 0
    flip_load: Cost | None = None
    absent: dict[str, str] = field(default_factory=dict)  # why, by target


def measured(folder: Path, *, only: tuple[str, ...], rounds: int, lengths: Lengths) -> Seen:
    """Start everything, measure everything, stop everything."""
    seen = Seen()
    small, big, control = free_ports(3)
    site = Site(folder, (small, big), control)
    with engine(folder, site.engines, control, tables()) as direct, ExitStack() as stack:
        bench = Bench(folder, control)
        targets = [direct, *_started(stack, site, only, seen)]
        for number in range(rounds):
            for target in targets:
                began = time.monotonic()
                _round(bench, target, seen, lengths)
                print(
                    f"==> round {number + 1} of {rounds}: {target.name}, {time.monotonic() - began:.0f} s",
                    flush=True,
                )
        for target in targets[1:]:
            _once(bench, target, seen)
    return seen


def _started(stack: ExitStack, site: Site, only: tuple[str, ...], seen: Seen) -> Iterator[Target]:
    for name, plan in PROXIES.items():
        if only and name not in only:
            seen.absent[name] = "left out of this run"
            continue
        port = _two_ports()
        try:
            yield stack.enter_context(running(name, plan(site, port), port, site.folder))
        except peers.Absent as err:
            seen.absent[name] = str(err)
            print(f"==> {err}", flush=True)


def _two_ports() -> int:
    """A free port whose next one is free too: metrics go there."""
    while True:
        port: int = free_ports(1)[0]
        with closing(socket.socket()) as other, suppress(OSError, OverflowError):
            other.bind(("127.0.0.1", port + 1))
            return port


def _round(bench: Bench, target: Target, seen: Seen, lengths: Lengths) -> None:
    slow = target.name == SLOW

    def keep(kind: str, cost: Cost) -> None:
        seen.costs[kind, target.name].append(cost)

    keep("requests", bench.requests(target, lengths.requests))
    keep(
        "streams",
        bench.streams(target, lengths.streams, count=SLOW_STREAMS if slow else STREAMS, gap_ms=GAP_MS),
    )
    keep("paced", bench.paced(target, lengths.paced, SLOW_RATE if slow else RATE))
    keep("large", bench.large(target, lengths.large))
    if target.name in (OURS, OURS_CASCADE, "direct", "nginx"):
        keep(
            "crowd",
            bench.streams(target, lengths.streams, count=CROWD, gap_ms=CROWD_GAP_MS, tokens=CROWD_TOKENS),
        )


def _once(bench: Bench, target: Target, seen: Seen) -> None:
    if target.pid is not None:
        seen.rss_mib[target.name] = processes.rss_mib(processes.tree(target.pid))
    if target.name != SLOW:
        seen.cancel_ms[target.name] = bench.cancel_ms(target, CANCELS)
    if target.name == OURS:
        seconds = FLIPS * FLIP_PAUSE_S + 2
        with bench.under_load(target, seconds) as load:
            flips = bench.flips(names.route_table(ROUTERS[OURS]), FLIPS, FLIP_PAUSE_S)
        seen.flips = len(flips)
        seen.flip_ms = [flip["first_ms"] for flip in flips if flip["first_ms"] is not None]
        seen.flip_load = load[0]
