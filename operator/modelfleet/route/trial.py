"""The judgement of one attempt's answer while it comes: what of it counts, and when the verdict is due."""

from typing import Final

from modelfleet.api.route_table import AcceptRule, CascadeRoute
from modelfleet.route import accept
from modelfleet.route.accept import Asked, Verdict
from modelfleet.route.draft import Draft

_NEVER_S: Final = float("inf")


class Trial:
    """One answer before its judge.  `holds`: nothing of it is sent before the verdict.

    Of a stream the first tokens are judged; of one that must be judged whole, and of an answer that is no stream,
    everything.  `first_s`: when the first token came.
    """

    __slots__ = (
        "_hold_s",
        "_hold_tokens",
        "_rule",
        "_wants",
        "draft",
        "first_s",
        "holds",
        "verdict",
        "whole",
    )

    def __init__(self, rule: AcceptRule, wants: Asked, route: CascadeRoute) -> None:
        self._rule = rule
        self._wants = wants
        self._hold_tokens = route.hold_tokens
        self._hold_s = route.hold_s
        self.whole = wants.whole
        self.holds = not route.observe
        self.draft = Draft()
        self.first_s: float | None = None
        self.verdict: Verdict | None = None

    @property
    def pending(self) -> bool:
        """Sending waits for the verdict."""
        return self.holds and self.verdict is None

    def add_events(self, whole: bytes, now_s: float) -> None:
        """Take whole events of a stream."""
        self.draft.add_events(whole)
        if self.first_s is None and self.draft.events:
            self.first_s = now_s

    def due_s(self) -> float:
        """When what has come must be judged, however little it is."""
        return _NEVER_S if self.whole or self.first_s is None else self.first_s + self._hold_s

    def ready(self, now_s: float) -> bool:
        """Enough of a stream has come."""
        return not self.whole and (self.draft.events >= self._hold_tokens or now_s >= self.due_s())

    def judge(self, *, ended: bool) -> Verdict:
        """The verdict, once.  `ended`: there is no more of the answer."""
        self.verdict = accept.judge(self._rule, self.draft, self._wants, ended=ended)
        return self.verdict
