"""The loads of the experiment: requests in every second, and the fleets that carry them.

Counts made of a trace are kept beside the finished cells, in the user's cache and never in the project: making the
arrivals of a day costs more than simulating it.
"""

import math
import os
from array import array
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path

from modelfleet.plan.profiles import PROFILES
from modelfleet.plan.sizing import Lengths
from modelfleet.sim import traces
from modelfleet.sim.arrivals import Day, synthetic
from modelfleet.sim.fleet import Arrival, Cascade, ColdStart, Slo, Tier

_MEAN_RPS = 60.0  # of a whole ServeGen trace after scaling
_COPIES = 8.0  # an hour of Azure is too little for one replica
_REMEMBERED_BLOCKS = 20_000
_ROOM = 1.5  # maxReplicas of everybody, over what the day's busiest minute needs
_DRAWN = 20_000  # requests that stand for the lengths of a load
# Lengths are those of the largest ServeGen model for all three: the small ones' answers of 15 tokens would need one GPU.
_LENGTHS_OF = "m-large"


SMALL = Tier("small", PROFILES["8b-h100"], cold=ColdStart(0, 10, 110))
BIG = Tier("big", PROFILES["70b-h100-tp4"], gpus=4.0, cold=ColdStart(0, 20, 220))
_LONG_PROMPT = 4000


@dataclass(frozen=True)
class Load:
    """`counts`: requests by second.  `requests`: some of them, for their lengths."""

    name: str
    counts: Sequence[float]
    requests: Sequence[Arrival]

    @cached_property
    def lengths(self) -> Lengths:
        number = len(self.requests)
        return Lengths(
            sum(one.prompt for one in self.requests) / number,
            sum(one.output for one in self.requests) / number,
            sum(one.cached for one in self.requests) / number,
        )

    @property
    def slo(self) -> Slo:
        return Slo(1.0 if self.lengths.prompt < _LONG_PROMPT else 4.0, 0.05)


def load(name: str, folder: Path | None, cache: Path) -> Load:
    """`name`: synthetic-DAY, m-large-DAY (and m-mid, m-small), azure-conv, azure-code or mooncake."""
    kept = cache / f"{name}.counts"
    if name.startswith("synthetic"):
        return _of(name, synthetic(Day(mean_rps=20.0), seconds=21_600, seed=_day(name)), 6.0)
    if folder is None:
        raise FileNotFoundError(f"{name} needs a folder of traces")
    if name.startswith("m-"):
        if not kept.exists():
            model = name.rpartition("-")[0]
            counts = traces.servegen_counts(folder, model, mean_rps=_MEAN_RPS, day=_day(name))
            # Several processes may make the same: each writes a file of its own, and the last one stays.
            written = kept.with_suffix(f".{os.getpid()}")
            written.write_bytes(array("I", counts).tobytes())
            written.replace(kept)
        found = array("I")
        found.frombytes(kept.read_bytes())
        return Load(name, found.tolist(), traces.servegen_lengths(folder, _LENGTHS_OF, number=_DRAWN))
    if name == "mooncake":
        path = folder / "mooncake_fast25_conversation.jsonl.gz"
        return _of(name, traces.mooncake(path, cached_blocks=_REMEMBERED_BLOCKS), 2.0)
    path = folder / f"azure_llm_2023_{name.removeprefix('azure-')}.csv.gz"
    return _of(name, traces.azure(path), _COPIES)


def _day(name: str) -> int:
    return int(name.rpartition("-")[2])


def _of(name: str, arrivals: Iterable[Arrival], factor: float) -> Load:
    counts: list[float] = []
    found = list(arrivals)
    for one in found:
        counts += [0.0] * (int(one.at_s) + 1 - len(counts))
        counts[int(one.at_s)] += factor
    return Load(name, counts, found[:: max(1, len(found) // _DRAWN)])


def fleet(kind: str, of: Load, rates_rps: Mapping[str, float]) -> Cascade:
    """`kind`: `one` (8B on one H100) or `cascade` (and 70B on four, which owes 35 % of the answers).

    `rates_rps`: by tier, what one replica carries in a load test.
    """
    floor = 0.35 if kind == "cascade" else 0.0
    found = Cascade((SMALL, BIG) if floor else (SMALL,), slo=of.slo, share_floor=floor)
    minutes = [sum(of.counts[at : at + 60]) / 60 for at in range(0, len(of.counts) - 59, 60)]
    sized = []
    for tier, share in zip(found.tiers, shares_of(found), strict=True):
        replicas = share / rates_rps[tier.name]
        most = math.ceil(_ROOM * max(minutes) * replicas)
        start = min(most, max(1, math.ceil(1.2 * sum(minutes[:10]) / 10 * replicas)))
        sized.append(replace(tier, replicas_max=most, replicas_start=start))
    return replace(found, tiers=tuple(sized))


def shares_of(cascade: Cascade) -> tuple[float, ...]:
    """Of the entries, by tier, where nobody moves them."""
    floor = cascade.share_floor
    return (1 - floor, floor) if len(cascade.tiers) > 1 else (1.0,)


def peak_replicas(cascade: Cascade, of: Load, rates_rps: Mapping[str, float], part: float) -> dict[str, int]:
    """So many replicas as a part of the day's busiest minute needs."""
    busiest = max(sum(of.counts[at : at + 60]) / 60 for at in range(0, len(of.counts) - 59, 60))
    return {
        tier.name: max(1, math.ceil(part * busiest * share / rates_rps[tier.name]))
        for tier, share in zip(cascade.tiers, shares_of(cascade), strict=True)
    }
