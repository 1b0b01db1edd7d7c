"""What Prometheus would know: counters and histograms by tier, kept in slots of one scrape interval each."""

from bisect import bisect_left
from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

# The router's own buckets, in seconds.
TTFT_BOUNDS_S = (
    0.01,
    0.02,
    0.04,
    0.06,
    0.08,
    0.1,
    0.15,
    0.2,
    0.3,
    0.4,
    0.5,
    0.75,
    1.0,
    1.5,
    2.0,
    3.0,
    5.0,
    7.5,
    10.0,
    20.0,
    60.0,
)
ITL_BOUNDS_S = (0.005, 0.01, 0.015, 0.02, 0.025, 0.03, 0.04, 0.05, 0.06, 0.08, 0.1, 0.15, 0.2, 0.3, 0.5, 1.0)  # fmt: skip
SCORE_BOUNDS = (
    -8, -5, -4, -3, -2.5, -2, -1.75, -1.5, -1.25, -1.1, -1, -0.9, -0.8, -0.7, -0.65, -0.6, -0.55, -0.5, -0.45, -0.4,
    -0.35, -0.3, -0.25, -0.2, -0.175, -0.15, -0.125, -0.1, -0.075, -0.05, -0.035, -0.02, -0.01, -0.005, 0,
)  # fmt: skip
_SLOTS = 130  # of history
_PEAK_S = 60.0


class Slot:
    """One scrape interval of one tier."""

    __slots__ = (
        "answer_sum_s", "answers", "arrivals", "cached_tokens", "escalated", "good", "itl", "itl_sum_s", "output_tokens",
        "prompt_tokens", "scores", "ttft",
    )  # fmt: skip

    def __init__(self) -> None:
        # Amounts: the fluid's are no whole numbers.
        self.arrivals: float = 0  # requests that entered here, or came from a tier before
        self.answers: float = 0
        self.good: float = 0  # answers within the objective
        self.itl_sum_s = 0.0
        self.answer_sum_s = 0.0  # at replicas
        self.escalated = 0  # of the judged answers
        self.scores: list[int] | None = None  # of judged answers; None: there are none
        self.prompt_tokens: float = 0
        self.cached_tokens: float = 0  # of the prompts'
        self.output_tokens: float = 0
        self.ttft: list[float] = [0] * (len(TTFT_BOUNDS_S) + 1)
        self.itl: list[float] = [0] * (len(ITL_BOUNDS_S) + 1)


@dataclass(frozen=True, slots=True)
class Window:
    """Sums over some seconds.  Quantiles in seconds; None where nothing was answered."""

    seconds: float
    arrivals: float
    answers: float
    good: float
    prompt_tokens_mean: float | None
    cached_tokens_mean: float
    output_tokens_mean: float | None
    slots: Sequence[Slot]

    @property
    def rate_rps(self) -> float:
        return self.arrivals / self.seconds

    @property
    def itl_mean_s(self) -> float | None:
        streams = sum(sum(slot.itl) for slot in self.slots)
        return sum(slot.itl_sum_s for slot in self.slots) / streams if streams else None

    @property
    def answer_mean_s(self) -> float | None:
        return sum(slot.answer_sum_s for slot in self.slots) / self.answers if self.answers else None

    @property
    def counts(self) -> Sequence[float]:
        """Arrivals of every scrape interval."""
        return [slot.arrivals for slot in self.slots]

    def itl_kept(self, goal_s: float) -> tuple[float, float]:
        """Answers with a time between tokens, and how many of them kept it: exact where a bucket ends at the goal."""
        counts = [sum(column) for column in zip(*(slot.itl for slot in self.slots), strict=True)]
        return sum(counts), sum(counts[: bisect_left(ITL_BOUNDS_S, goal_s) + 1])

    def ttft_s(self, quantile: float) -> float | None:
        return _quantile(
            [sum(column) for column in zip(*(slot.ttft for slot in self.slots), strict=True)],
            TTFT_BOUNDS_S,
            quantile,
        )

    def itl_s(self, quantile: float) -> float | None:
        return _quantile(
            [sum(column) for column in zip(*(slot.itl for slot in self.slots), strict=True)],
            ITL_BOUNDS_S,
            quantile,
        )


class Meter:
    """One tier's slots, the newest last."""

    def __init__(self, scrape_s: float) -> None:
        self.scrape_s = scrape_s
        self.slot = Slot()
        self._past: list[Slot] = []

    def turn(self) -> None:
        """A scrape: the slot under way is complete."""
        self._past.append(self.slot)
        if len(self._past) > _SLOTS:
            del self._past[: len(self._past) - _SLOTS]
        self.slot = Slot()

    def answered(
        self,
        *,
        prompt: int,
        cached: int,
        output: int,
        ttft_s: float,
        itl_s: float,
        good: bool,
        lasted_s: float = 0.0,
    ) -> None:
        slot = self.slot
        slot.answers += 1
        slot.good += good
        slot.prompt_tokens += prompt
        slot.cached_tokens += cached
        slot.answer_sum_s += lasted_s
        slot.output_tokens += output
        slot.ttft[bisect_left(TTFT_BOUNDS_S, ttft_s)] += 1
        if output > 1:
            slot.itl[bisect_left(ITL_BOUNDS_S, itl_s)] += 1
            slot.itl_sum_s += itl_s

    def judged(self, score: float, *, escalated: bool) -> None:
        """An answer has been scored."""
        slot = self.slot
        if slot.scores is None:
            slot.scores = [0] * (len(SCORE_BOUNDS) + 1)
        slot.scores[bisect_left(SCORE_BOUNDS, score)] += 1
        slot.escalated += escalated

    def window(self, seconds: float, *, back_s: float = 0.0) -> Window:
        """The last `seconds` as they looked `back_s` ago."""
        back = round(back_s / self.scrape_s)
        count = max(1, round(seconds / self.scrape_s))
        end = len(self._past) - back
        slots = self._past[max(0, end - count) : max(0, end)]
        answers = sum(slot.answers for slot in slots)
        return Window(
            seconds=max(1, len(slots)) * self.scrape_s,
            arrivals=sum(slot.arrivals for slot in slots),
            answers=answers,
            good=sum(slot.good for slot in slots),
            prompt_tokens_mean=sum(slot.prompt_tokens for slot in slots) / answers if answers else None,
            cached_tokens_mean=sum(slot.cached_tokens for slot in slots) / answers if answers else 0.0,
            output_tokens_mean=sum(slot.output_tokens for slot in slots) / answers if answers else None,
            slots=slots,
        )


class Peaks:
    """The most that each replica has shown in the last minute: used memory (0 to 1) and queue, at scrapes."""

    def __init__(self, scrape_s: float) -> None:
        self._past: deque[Mapping[object, tuple[float, float]]] = deque(
            maxlen=max(1, round(_PEAK_S / scrape_s))
        )

    def scraped(self, shown: Mapping[object, tuple[float, float]]) -> None:
        """What each replica shows now."""
        self._past.append(shown)

    def of(self, replica: object) -> tuple[float, float]:
        found = [shown[replica] for shown in self._past if replica in shown]
        return max((kv for kv, _ in found), default=0.0), max((queue for _, queue in found), default=0.0)


def _quantile(counts: Sequence[float], bounds: Sequence[float], quantile: float) -> float | None:
    """As Prometheus' histogram_quantile: linear inside a bucket, the last bound beyond it."""
    total = sum(counts)
    if total == 0:
        return None
    rank, seen, low = quantile * total, 0.0, 0.0
    for count, high in zip(counts, bounds, strict=False):
        if count and seen + count >= rank:
            return low + (high - low) * (rank - seen) / count
        seen += count
        low = high
    return bounds[-1]
