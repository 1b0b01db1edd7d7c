"""Public traces of model serving, read from a folder of the user's: none of them is part of this project.

`docs/simulate.md` says where each can be had and in which shape it is read.
"""

import csv
import gzip
import json
from collections import OrderedDict
from collections.abc import Iterator, Sequence
from datetime import datetime
from pathlib import Path
from random import Random
from typing import IO

from modelfleet.sim.arrivals import WINDOW_S, Client, Lengths, window
from modelfleet.sim.fleet import Arrival

_BLOCK_TOKENS = 512  # of Mooncake's prefix blocks
_DAY_S = 86400.0
_LENGTHS_S = 21600.0
_QUESTIONS = 1 << 30


def azure(path: Path, *, seed: int = 0) -> Iterator[Arrival]:
    """Azure LLM inference trace: TIMESTAMP, ContextTokens, GeneratedTokens.  Times count from the first request."""
    random, first = Random(seed), None
    with _text(path) as lines:
        for row in csv.DictReader(lines):
            at = datetime.fromisoformat(row["TIMESTAMP"][:26])
            first = first or at
            prompt, output = int(row["ContextTokens"]), int(row["GeneratedTokens"])
            yield Arrival(
                (at - first).total_seconds(), max(1, prompt), max(1, output), 0, random.randrange(_QUESTIONS)
            )


def mooncake(path: Path, *, cached_blocks: int, seed: int = 0) -> Iterator[Arrival]:
    """Mooncake conversations: timestamp in ms, lengths, and ids of shared 512-token blocks.

    `cached_blocks`: how many blocks the tier remembers, least recently used first to go; 0 shares nothing.
    """
    random, known = Random(seed), OrderedDict[int, None]()
    with _text(path) as lines:
        for line in lines:
            row = json.loads(line)
            hits = _hits(row["hash_ids"], known, cached_blocks)
            prompt = max(1, row["input_length"])
            cached = min(prompt - 1, hits * _BLOCK_TOKENS)
            output = max(1, row["output_length"])
            yield Arrival(row["timestamp"] / 1000, prompt, output, cached, random.randrange(_QUESTIONS))


def _hits(blocks: list[int], known: "OrderedDict[int, None]", limit: int) -> int:
    hits = 0
    while hits < len(blocks) and blocks[hits] in known:
        hits += 1
    for block in blocks if limit else ():
        known[block] = None
        known.move_to_end(block)
    while len(known) > limit:
        known.popitem(last=False)
    return hits


def servegen(
    folder: Path, model: str, *, mean_rps: float, day: int = 0, days: float = 1, seed: int = 0
) -> Iterator[Arrival]:
    """ServeGen's production clients, all scaled by one factor so that the whole trace has `mean_rps` on average.

    Reads servegen_MODEL_clients and servegen_MODEL_lengths6h.  Times count from the start of `day`.
    """
    random = Random(seed * 1_000_003 + day)
    lengths = _lengths(folder / f"servegen_{model}_lengths6h.csv.gz")
    path = folder / f"servegen_{model}_clients.csv.gz"
    windows = _windows(path)
    factor = mean_rps / _mean_rps(windows)
    from_s, to_s = day * _DAY_S, (day + days) * _DAY_S
    for start_s, clients in windows:
        if not from_s <= start_s < to_s:
            continue
        at = (int(start_s // _LENGTHS_S)) * _LENGTHS_S
        prompt, output = (lengths.get((at, kind)) or lengths[-1.0, kind] for kind in _KINDS)
        scaled = [Client(one.rate_rps * factor, one.cv, one.weibull) for one in clients]
        for at_s in window(scaled, start_s - from_s, random):
            yield Arrival(at_s, prompt.draw(random), output.draw(random), 0, random.randrange(_QUESTIONS))


def servegen_counts(
    folder: Path, model: str, *, mean_rps: float, day: int = 0, days: float = 1, seed: int = 0
) -> list[int]:
    """As `servegen`, only how many requests arrive in every second: what the fluid runs on."""
    random = Random(seed * 1_000_003 + day)
    windows = _windows(folder / f"servegen_{model}_clients.csv.gz")
    factor = mean_rps / _mean_rps(windows)
    from_s, to_s = day * _DAY_S, (day + days) * _DAY_S
    counts = [0] * round(to_s - from_s)
    for start_s, clients in windows:
        if from_s <= start_s < to_s:
            scaled = [Client(one.rate_rps * factor, one.cv, one.weibull) for one in clients]
            for at_s in window(scaled, start_s - from_s, random):
                counts[min(len(counts) - 1, int(at_s))] += 1
    return counts


def servegen_lengths(folder: Path, model: str, *, number: int, seed: int = 0) -> list[Arrival]:
    """So many requests with lengths of the whole trace, at no time."""
    random, lengths = Random(seed), _lengths(folder / f"servegen_{model}_lengths6h.csv.gz")
    prompt, output = (lengths[-1.0, kind] for kind in _KINDS)
    return [Arrival(0.0, prompt.draw(random), output.draw(random)) for _ in range(number)]


_KINDS = ("input_tokens", "output_tokens")


def _windows(path: Path) -> list[tuple[float, list[Client]]]:
    """The clients of every window, in order of time; the file has them by client."""
    found: dict[float, list[Client]] = {}
    with _text(path) as lines:
        for row in csv.DictReader(lines):
            client = Client(float(row["rate_rps"]), float(row["iat_cv"]), row["family"] == "W")
            found.setdefault(float(row["t_s"]), []).append(client)
    return sorted(found.items())


def _mean_rps(windows: Sequence[tuple[float, Sequence[Client]]]) -> float:
    total = sum(client.rate_rps for _, clients in windows for client in clients)
    return total * WINDOW_S / (windows[-1][0] + WINDOW_S)


def _lengths(path: Path) -> dict[tuple[float, str], Lengths]:
    """By window start (-1: over all) and field."""
    found = {}
    with _text(path) as lines:
        for row in csv.DictReader(lines):
            start_s = -1.0 if row["window_start_s"] == "all" else float(row["window_start_s"])
            quantiles = [
                (float(name[1:]) / 100, float(value))
                for name, value in row.items()
                if name[0] == "q" and value
            ]
            shares, values = zip(*quantiles, strict=True)
            found[start_s, row["field"]] = Lengths(shares, values)
    return found


def _text(path: Path) -> IO[str]:
    return gzip.open(path, "rt") if path.suffix == ".gz" else path.open()
