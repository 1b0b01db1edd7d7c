"""The life of a request whose answer may be judged not good enough.

    _ask -> events held -> _settle -> sent as they come            (accepted)
     ^                        |
     +------- _escalate ------+     the next tier gets the original messages, this one is stopped

It is an exchange as any other until an answer of a tier with an accept rule comes.  Then nothing of the model is sent
before the verdict, so a client never gets bytes of two tiers.  A stream that waits long for its verdict gets comments
meanwhile: these commit status and headers, and to no tier.
"""

from dataclasses import dataclass

import orjson

from modelfleet.route import accept, account, answer, logprobs, refusal
from modelfleet.route.accept import Asked, Verdict
from modelfleet.route.call import Call
from modelfleet.route.journey import Spent
from modelfleet.route.refusal import Refusal
from modelfleet.route.sse import EventScan
from modelfleet.route.trial import Trial
from modelfleet.router.fleet import Passage, Step
from modelfleet.router.message import Request
from modelfleet.router.relay import HELD_BYTES_MAX, NEVER_S, Exchange
from modelfleet.router.server import Client
from modelfleet.router.shell import Shell
from modelfleet.router.upstream import Headers, Replica

KEEP_ALIVE_S = 10.0  # between two comments, while a stream is judged whole
_CHAT = b"/v1/chat/completions"
_OPENING = b"content-type: text/event-stream; charset=utf-8\r\ncache-control: no-cache\r\n"


@dataclass(frozen=True, slots=True)
class Best:
    """A complete answer that was not accepted, kept for the case that nothing better comes."""

    step: Step
    verdict: Verdict
    spent: Spent
    fields: bytes
    held: bytes  # the body, or all events with [DONE]
    withheld: bytes  # the data of the usage event
    streamed: bool


class JudgedExchange(Exchange):
    """One request to a cascade with accept rules, and its answer."""

    __slots__ = (
        "_alive_due_s", "_best", "_cold", "_entry_judged", "_keeps_logprobs", "_opened", "_partial", "_resigned",
        "_trial", "_wants",
    )  # fmt: skip

    def __init__(self, client: Client, request: Request, call: Call, passage: Passage, shell: Shell) -> None:
        self._keeps_logprobs = logprobs.asked_by(call.fields)
        self._wants: Asked = accept.asked(call.fields)
        self._best: Best | None = None
        self._partial: tuple[Verdict, Step] | None = None  # the best draft that was stopped before its end
        self._resigned = False  # no better answer can be had: the next one is sent as it is
        self._opened = False  # status and headers are sent
        self._alive_due_s = NEVER_S
        self._cold = False  # it waits for the first replica of its tier
        super().__init__(client, request, call, passage, shell)

    # Asking.

    def _encoded(self, step: Step) -> bytes:
        if self._journey.attempts == 0:
            self._trial = self._trial_at(step)
            self._entry_judged = self._trial is not None
        if self._trial is None:
            return super()._encoded(step)
        chat = self._request.path == _CHAT
        extra = logprobs.request(self._call.fields, engine=step.route.engine, chat=chat)
        return self._call.encoded(step.route.served_name, extra)

    def _body_for(self, step: Step) -> bytes:
        same = step is self._order[0] and self._entry_judged == (self._trial is not None)
        return self._body if same else self._encoded(step)

    def _trial_at(self, step: Step) -> Trial | None:
        """The judgement of this step's answer; None where the verdict could change nothing."""
        rule, route = step.route.accept, self._passage.route
        if rule is None or self._resigned:
            return None
        if not route.observe:
            descends = self._place(step) < self._place(self._order[0])  # what is dearer has failed already
            if descends or self._journey.escalations >= route.max_escalations or not self._may_follow(step):
                return None
        return Trial(rule, self._wants, route)

    def _place(self, step: Step) -> int:
        return next(place for place, one in enumerate(self._passage.steps) if one is step)

    def _dearer(self, step: Step) -> tuple[Step, ...]:
        """The steps after this one where the request may go and that can take it: an API that is down is no way out."""
        now_s, after = self._loop.time(), self._passage.steps[self._place(step) + 1 :]
        return tuple(one for one in after if one.pool.cold or one.pool.takes(now_s, at_once=False))

    def _may_follow(self, step: Step) -> bool:
        """Whether there is a dearer step, which can be paid for beside this one."""
        dearer, purse = self._dearer(step), self._passage.purse
        if purse is None:
            return bool(dearer)
        return any(purse.covers(one.route.price, after=step.route.price) for one in dearer)

    def _ask(self, replica: Replica) -> None:
        if self._journey.attempts or self._step is not self._order[0]:
            self._trial = self._trial_at(self._step)
        if self._trial is not None and self._trial.whole and self._trial.holds and self._call.stream:
            self._alive_due_s = min(self._alive_due_s, self._loop.time() + KEEP_ALIVE_S)
        super()._ask(replica)
        if self._best is not None:
            self._bodies.keep(self, len(self._best.held))

    def admitted(self, replica: Replica) -> None:
        if self._cold:
            # The time that a model takes to load says nothing of its replicas: more of them would not shorten it.
            self._cold, self._arrived_s = False, self._loop.time()
        super().admitted(replica)

    # Taking the answer.

    def upstream_head(self, status: int, headers: Headers, *, length_known: bool) -> None:
        refuses = status >= answer.HTTP_CLIENT_ERROR and answer.failure(status) is None
        if refuses and self._journey.escalations:
            self._retry("Status4xx")  # another tier took the same request: there is an answer to fall back to
        else:
            super().upstream_head(status, headers, length_known=length_known)

    def _new_scan(self) -> EventScan:
        return EventScan(keep_usage=False)  # it is put in at the end, with the usage of all tiers

    def _relay_events(self, scan: EventScan, data: bytes) -> None:
        before = scan.events
        out = scan.feed(data)
        now_s = self._loop.time()
        self._time(before, scan.events - before, now_s)
        trial = self._trial
        if trial is not None:
            if trial.verdict is None:
                trial.add_events(out, now_s)
                if not trial.holds and (scan.done or trial.ready(now_s)):
                    self._note(trial.judge(ended=scan.done))
            if not self._keeps_logprobs:
                out = logprobs.without(out)
        if self._committed:
            self._send(out, scan)
        elif scan.broken is not None:
            self._retry(scan.broken)
        else:
            self._hold(out, scan, now_s)

    def _time(self, before: int, fresh: int, now_s: float) -> None:
        if fresh and not before:
            self._first_s = now_s
            self._step.stats.first_token.observe(now_s - self._arrived_s)
        elif fresh and not self._slow:
            self._step.stats.inter_token.observe((now_s - self._last_byte_s) / fresh, fresh)
        self._last_byte_s = now_s

    def _hold(self, out: bytes, scan: EventScan, now_s: float) -> None:
        """Nothing is sent yet: see whether it may be."""
        trial = self._trial
        timed = trial is not None and trial.first_s == now_s  # its first token has just come
        self._held.append(out)
        self._held_bytes += len(out)
        full = self._bodies.keep(self, len(out)) or self._held_bytes > HELD_BYTES_MAX
        if trial is None or not trial.holds:
            if scan.events:
                self._send(b"", scan)
            elif full:
                self._retry("Oversized")
        elif scan.done or trial.ready(now_s) or full:
            self._settle(ended=scan.done)
        elif timed:
            self._arm(now_s)

    def _send(self, out: bytes, scan: EventScan) -> None:
        if not self._committed:
            out = self._commit() + out
        if scan.done and b"[DONE]" in out:
            out = self._closed(out, scan.withheld, self._step)
        if out:
            self._client.write(out)
        if scan.broken is not None:
            self._break(scan.broken, refusal.BROKEN)

    def _closed(self, out: bytes, withheld: bytes, step: Step) -> bytes:
        """The last events of a stream with what stands before [DONE]: usage where the client wants it, and a comment."""
        at = out.rfind(b"data:")
        usage = self._journey.usage_event(withheld) if withheld and self._call.wants_usage else b""
        comment = self._journey.comment(step.route.name) if self._journey.judged else b""
        return out[:at] + usage + comment + out[at:]

    def _pass_on(self) -> None:
        if self._opened:
            self._retry("NotAnAnswer")
        else:
            super()._pass_on()

    def _end_whole(self, body: bytes) -> None:
        trial = self._trial
        failed = self._status > answer.HTTP_OK_MAX
        if self._opened and not failed:
            self._retry("NotAnAnswer")  # a comment was sent: only a stream can follow
        elif failed or trial is None:
            super()._end_whole(body)
        elif not trial.draft.add(body):
            self._retry("Truncated")
        elif (flaw := answer.flaw(trial.draft.fields)) is not None:
            self._retry(flaw)
        else:
            self._settle(ended=True)

    def _send_whole(self, body: bytes, used: tuple[int, int]) -> None:
        if self._opened:  # the client's own fault, found after a comment was sent
            self._fail_open(body)
            return
        keep = self._trial is None or self._keeps_logprobs
        fields = None if self._trial is None else self._trial.draft.fields
        super()._send_whole(self._journey.whole(body, keep_logprobs=keep, fields=fields), used)

    def _open(self, *, length: int | None) -> None:
        self._journey.below = self._journey.below or self._resigned
        if not self._opened:
            self._opened = True
            told = self._journey.fields(self._step.route.name)
            self._client.begin(self._status, self._fields + told, length=length)

    # The verdict.

    def _settle(self, *, ended: bool) -> None:
        """Judge what has come, and send it or move on."""
        trial = self._trial
        if trial is None or trial.verdict is not None:
            return
        verdict = trial.judge(ended=ended)
        self._note(verdict)
        if trial.first_s is not None and trial.holds:
            self._step.stats.hold_back.observe(self._loop.time() - trial.first_s)
        if trial.holds and not verdict.accepted:
            self._escalate(trial, verdict, ended=ended)
        elif self._scan is not None:
            self._send(b"", self._scan)
        else:
            self._send_whole(b"".join(self._held), answer.told_usage(trial.draft.fields))

    def _note(self, verdict: Verdict) -> None:
        self._step.stats.judged[verdict.reason] += 1
        if verdict.score is not None:
            self._step.stats.score.observe(verdict.score)
        self._journey.took(verdict)

    def _escalate(self, trial: Trial, verdict: Verdict, *, ended: bool) -> None:
        """Not good enough: stop this tier, ask the next one from the beginning."""
        step, upstream, dearer = self._step, self._upstream, self._dearer(self._step)
        spent = self._spent(trial)
        self._spend((spent.prompt or 0, spent.completion))
        if self._passage.purse is not None and spent.prompt:
            self._passage.purse.told(step.route.price, (spent.prompt, spent.completion))
        step.stats.escalated[verdict.reason] += 1
        if ended:
            self._keep_best(verdict, spent)
        elif self._partial is None or verdict.rank > self._partial[0].rank:
            self._partial = (verdict, step)
        self._journey.rejected(spent)
        self._leave("Escalated")
        if upstream is not None:
            if ended:
                upstream.detach()
            else:
                upstream.abort()
        self._tries = self._tries.over(dearer)
        self._attempt()

    def _spent(self, trial: Trial) -> Spent:
        tier = self._step.route.name
        if self._scan is None:
            return Spent(*answer.told_usage(trial.draft.fields), tier)
        return Spent(*self._scan.usage, tier) if self._scan.usage else Spent(None, trial.draft.events, tier)

    def _keep_best(self, verdict: Verdict, spent: Spent) -> None:
        if self._best is not None and self._best.verdict.rank >= verdict.rank:
            return
        scan, held = self._scan, b"".join(self._held)
        self._best = Best(
            self._step, verdict, spent, self._fields, held, scan.withheld if scan else b"", scan is not None
        )

    # How it ends otherwise.

    def _give_up(self, refused: Refusal) -> None:
        best, partial = self._best, self._partial
        if best is not None:
            self._serve(best)
        elif partial is not None and refused is not refusal.DEADLINE:
            # Its draft is gone, but the tier works: its answer is better than none.
            self._partial, self._resigned = None, True
            self._tries = self._tries.over((partial[1],))
            self._attempt()
        elif self._opened:
            self._entry.errors[refused.reason] += 1
            self._fail_open(refused.body())
        else:
            super()._give_up(refused)

    def _serve(self, best: Best) -> None:
        """Send the best answer seen so far, marked."""
        journey = self._journey
        if self._opened and not best.streamed:
            self._fail_open(refusal.BROKEN.body())
            return
        journey.spent.remove(best.spent)  # it is in the answer's own usage
        journey.took(best.verdict)
        self._step, self._fields, self._status, self._committed = best.step, best.fields, 200, True
        if best.streamed:
            self._open(length=None)
            self._client.write(self._closed(best.held, best.withheld, best.step))
        else:
            body = journey.whole(best.held, keep_logprobs=self._keeps_logprobs)
            self._open(length=len(body))
            self._client.write(body)
        best.step.stats.answered += 1
        best.step.stats.duration.observe(self._loop.time() - self._start_s)
        journey.tier, self._scan, self._held_bytes = best.step.route.name, None, len(best.held)
        self._over(account.ANSWERED, 200, (best.spent.prompt or 0, best.spent.completion))
        self._client.finish()

    def _fail_open(self, error: bytes) -> None:
        """An error after a comment: as an event, and never a clean end."""
        if self._upstream is not None:
            self._leave("Status4xx")
        self._client.patron = None
        try:
            error = orjson.dumps(orjson.loads(error))  # on one line
        except orjson.JSONDecodeError:
            error = refusal.BROKEN.body()
        self._client.write(b"data: %b\n\n" % error)
        self._over(account.BROKEN, 200)
        self._client.cut()

    # Time.

    def _arm(self, now_s: float, due_s: float = NEVER_S) -> None:
        if not self._committed:
            if self._waits and self._call.stream and self._step.pool.sleeps:
                self._cold = True
                self._alive_due_s = min(self._alive_due_s, now_s + KEEP_ALIVE_S)
            due_s = min(due_s, self._alive_due_s)
            if self._trial is not None and self._trial.pending and not self._waits:
                due_s = min(due_s, self._trial.due_s())
        super()._arm(now_s, due_s)

    def tick(self) -> None:
        now_s, trial = self._loop.time(), self._trial
        if self._committed or now_s >= self._deadline_s:
            super().tick()
        elif trial is not None and trial.pending and not self._waits and now_s >= trial.due_s():
            self._settle(ended=False)
            if self._committed:
                self._arm(now_s)
        elif now_s >= self._alive_due_s:
            self._keep_alive(now_s)
            super().tick()
        else:
            super().tick()

    def _keep_alive(self, now_s: float) -> None:
        if not self._opened:
            self._opened = self._journey.judged = (
                True  # what headers cannot tell any more, the last comment does
            )
            self._client.begin(200, _OPENING, length=None)
        self._client.write(b": still at work\n\n")
        self._alive_due_s = now_s + KEEP_ALIVE_S
