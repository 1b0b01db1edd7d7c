"""Requests over time, made from rates: gamma or Weibull gaps, and lengths by their quantiles.

The synthetic loads are fitted to published statistics (the shape of a day, burstiness, lengths); they hold no data of
any trace.
"""

import math
from bisect import bisect_right
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from random import Random

from modelfleet.sim.fleet import Arrival

WINDOW_S = 600.0
CV_MAX = 12.0  # burstier clients than this are made so
_DAY_S = 86400.0
_SHAPE_MIN, _SHAPE_MAX = 0.1, 50.0


@dataclass(frozen=True, slots=True)
class Lengths:
    """Quantiles of a length in tokens: `values[i]` at `shares[i]`, rising."""

    shares: tuple[float, ...]
    values: tuple[float, ...]

    def draw(self, random: Random) -> int:
        """One length, linear between the quantiles; at least one token."""
        spin = random.random()
        at = bisect_right(self.shares, spin)
        if at == 0:
            return max(1, round(self.values[0]))
        if at == len(self.shares):
            return max(1, round(self.values[-1]))
        low, high = self.shares[at - 1], self.shares[at]
        part = (spin - low) / (high - low)
        return max(1, round(self.values[at - 1] + part * (self.values[at] - self.values[at - 1])))


@dataclass(frozen=True, slots=True)
class Client:
    """A sender in one window: its rate, and how uneven its gaps are (coefficient of variation)."""

    rate_rps: float
    cv: float = 1.0
    weibull: bool = False


def lognormal(median: float, mean: float) -> Lengths:
    """Lengths of a lognormal distribution."""
    sigma = math.sqrt(2 * math.log(mean / median))
    shares = (0.01, 0.05, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 0.95, 0.98, 0.99, 0.995)
    scores = (
        -2.326,
        -1.645,
        -1.282,
        -0.842,
        -0.524,
        -0.253,
        0.0,
        0.253,
        0.524,
        0.842,
        1.282,
        1.645,
        2.054,
        2.326,
        2.576,
    )
    return Lengths(shares, tuple(median * math.exp(sigma * score) for score in scores))


def window(
    clients: Sequence[Client], start_s: float, random: Random, seconds: float = WINDOW_S
) -> list[float]:
    """Times of all requests of one window, in order."""
    times: list[float] = []
    for client in clients:
        expected = client.rate_rps * seconds
        number = int(expected) + (random.random() < expected % 1)
        if number:
            times += _times(client, number, start_s, random, seconds)
    times.sort()
    return times


def _times(client: Client, number: int, start_s: float, random: Random, seconds: float) -> list[float]:
    cv = min(CV_MAX, max(0.05, client.cv))
    if client.weibull:
        shape = weibull_shape(round(cv, 2))
        gaps = [random.weibullvariate(1.0, shape) for _ in range(number + 1)]
    else:
        shape = 1 / (cv * cv)
        gaps = [random.gammavariate(shape, 1.0) for _ in range(number + 1)]
    scale = seconds / (sum(gaps) or 1.0)
    at_s, times = start_s, []
    for gap in gaps[:number]:
        at_s += gap * scale
        times.append(at_s)
    return times


@lru_cache(maxsize=4096)
def weibull_shape(cv: float) -> float:
    """The shape of a Weibull distribution with this coefficient of variation."""
    low, high = _SHAPE_MIN, _SHAPE_MAX
    for _ in range(60):
        shape = math.sqrt(low * high)
        spread = math.exp(math.lgamma(1 + 2 / shape) - 2 * math.lgamma(1 + 1 / shape)) - 1
        if spread > cv * cv:
            low = shape
        else:
            high = shape
    return math.sqrt(low * high)


@dataclass(frozen=True, slots=True)
class Day:
    """A synthetic day: two humps, slow noise, and clients of which some are bursty."""

    mean_rps: float
    peak_to_mean: float = 2.0
    peak_hour: float = 14.0
    clients: int = 30
    bursty_share: float = 0.4  # of the traffic
    burst_cv: float = 4.0
    noise: float = 0.06  # of the rate from one window to the next
    prompt: Lengths = field(default_factory=lambda: lognormal(600, 914))
    output: Lengths = field(default_factory=lambda: lognormal(70, 155))

    def rate_rps(self, at_s: float) -> float:
        """Without noise."""
        hour = at_s % _DAY_S / 3600
        wave = math.cos((hour - self.peak_hour) / 24 * 2 * math.pi) + 0.3 * math.cos(
            (hour - self.peak_hour + 3) / 12 * 2 * math.pi
        )
        return self.mean_rps * max(0.1, 1 + (self.peak_to_mean - 1) * wave / 1.3)


def synthetic(day: Day, *, seconds: float, seed: int, questions: int = 1) -> Iterator[Arrival]:
    """The requests of a synthetic day, from midnight on."""
    random = Random(seed)
    weights = [random.paretovariate(1.2) for _ in range(day.clients)]
    total, level, start_s = sum(weights), 0.0, 0.0
    while start_s < seconds:
        level = 0.8 * level + random.gauss(0.0, day.noise)
        rate = day.rate_rps(start_s + WINDOW_S / 2) * math.exp(level)
        clients = [
            Client(
                rate * weight / total,
                day.burst_cv if place < day.bursty_share * day.clients else 1.0,
                weibull=True,
            )
            for place, weight in enumerate(weights)
        ]
        for at_s in window(clients, start_s, random):
            if at_s < seconds:
                yield _arrival(at_s, day.prompt, day.output, random, questions)
        start_s += WINDOW_S


def _arrival(at_s: float, prompt: Lengths, output: Lengths, random: Random, questions: int) -> Arrival:
    return Arrival(at_s, prompt.draw(random), output.draw(random), 0, random.randrange(questions))


def staged(steps: Sequence[tuple[float, float]], *, prompt: int, output: int, seed: int) -> Iterator[Arrival]:
    """Poisson arrivals at one rate after another.  `steps`: (requests per second, seconds)."""
    random, start_s = Random(seed), 0.0
    for rate, seconds in steps:
        at_s = start_s
        while rate > 0 and (at_s := at_s + random.expovariate(rate)) < start_s + seconds:
            yield Arrival(at_s, prompt, output, 0, random.randrange(1 << 30))
        start_s += seconds
