"""A request's life, from the choice of its first tier to the last byte of its answer.

    begin -> _attempt -> (admitted) -> _ask -> upstream_head -> upstream_body* -> upstream_end
                 ^                                   |               |
                 +------------- _retry --------------+---------------+     only while the client has not got a byte

A whole answer is held until it is complete and then sent at once, so an engine that dies in the middle of one costs
an attempt and not the request.  A stream is committed with its first event: from then on a break is shown as a
break (an error event, no [DONE], connection cut), never as an end, and never mended with bytes of another engine.
"""

from modelfleet.route import account, answer, patience, refusal
from modelfleet.route.call import EMBEDDINGS, Call
from modelfleet.route.journey import Journey
from modelfleet.route.refusal import Refusal
from modelfleet.route.sse import EventScan
from modelfleet.router import spill, thrift
from modelfleet.router.fleet import Passage, Step, timed
from modelfleet.router.headers import answer_fields, asking, forwarded
from modelfleet.router.message import Request
from modelfleet.router.server import Client
from modelfleet.router.shell import Shell
from modelfleet.router.upstream import Headers, Replica, Upstream

HELD_BYTES_MAX = 4 * 1024 * 1024  # a whole answer beyond this is relayed as it comes
NEVER_S = float("inf")


class Exchange:
    """One request and its answer.  Making one raises Refused when the call cannot be passed on."""

    __slots__ = (
        "_arrived_s", "_attempt_s", "_bodies", "_body", "_call", "_client", "_committed", "_deadline_s", "_entry", "_fields",
        "_first_s", "_first_try", "_forwarded", "_held", "_held_bytes", "_journey", "_last_byte_s", "_length_known", "_loop",
        "_order", "_passage", "_passing", "_recorder", "_replica", "_request", "_scan", "_slow", "_start_s",
        "_status", "_step", "_trace", "_tries", "_upstream", "_waits", "charged", "kept", "size",
    )  # fmt: skip

    def __init__(self, client: Client, request: Request, call: Call, passage: Passage, shell: Shell) -> None:
        self._client = client
        self._request = request
        self.size = len(request.body)
        self._call = call
        self._passage = passage
        self._loop = shell.loop
        self._start_s = self._attempt_s = shell.loop.time()
        self._deadline_s = self._start_s + passage.route.deadline_s
        self._order = passage.order
        self._journey = Journey(passage.judges, self._start_s, self.size)
        self._recorder = shell.recorder
        self._trace = shell.recorder.trace(request, passage.route, call.fields) if shell.recorder.on else None
        self._tries = thrift.tries(passage, turn=shell.turn())
        self._forwarded = forwarded(request.headers)
        self._body, self._bodies = self._encoded(self._order[0]), shell.bodies
        request.body = b""
        self._committed = self._slow = self._waits = False
        self.kept = 0
        self._scan: EventScan | None = None
        self._upstream: Upstream | None = None
        self._bodies.take(self)

    @property
    def tenant(self) -> str:
        key = self._request.key
        return "" if key is None else key.name

    def begin(self) -> None:
        self._entry = self._order[0].stats
        self._entry.started += 1
        if self._passage.share is not None:
            self._passage.share.request(self._start_s)
        self._client.patron = self
        self._attempt()

    def _attempt(self) -> None:
        """Ask the next replica, wait for a place at one, or say that there is none left."""
        self._arrived_s = now_s = self._loop.time()
        tries, fields, self.charged = self._tries, self._call.fields, 0.0
        while (step := tries.step()) is not None:
            found = step.pool.enter(
                self, tries.tried, fields=fields, turn=tries.turn, now_s=now_s, deadline_s=self._deadline_s
            )
            if isinstance(found, str):
                self._passed_over(step, found)
                continue
            if found is None and self._passage.share is not None and self._passed_over(step, ""):
                step.pool.quit(self)
                continue
            self._step = step
            step.stats.in_flight += 1
            if found is None:
                self._waits = True
                self._arm(now_s)
            else:
                self._ask(found)
            return
        journey = self._journey
        self._give_up(refusal.verdict(journey.outcomes, all_asked=journey.attempts == len(self._order)))

    def admitted(self, replica: Replica) -> None:
        self._waits = False
        self._ask(replica)

    def turned_away(self, why: str) -> None:
        """It is no use to wait any longer at this tier."""
        self._waits = False
        self._step.stats.in_flight -= 1
        self._passed_over(self._step, why)
        self._attempt()

    def _passed_over(self, step: Step, why: str) -> bool:
        """Whether it goes on without this step.  `why`: the step does not take it; empty: it would have to wait."""
        now_s = self._loop.time()
        return spill.passed_over(self._tries, self._passage, self._journey, step=step, why=why, now_s=now_s)

    def _ask(self, replica: Replica) -> None:
        """Send the request to the replica whose place it has."""
        self._replica = replica
        self._tries.began(replica)
        self._journey.began(self._step.route.name)
        if self._trace is not None:
            self._forwarded = self._trace.began(self._step.route, replica.host, replica.port)
        self._attempt_s = self._last_byte_s = self._loop.time()
        self._first_s, self._first_try = NEVER_S, True
        self._held: list[bytes] = []
        self._bodies.let_go(self)
        self._held_bytes, self._scan, self._passing = 0, None, False
        self._arm(self._attempt_s)
        self._upstream = replica.send(self, self._upstream_request(self._step))

    def _upstream_request(self, step: Step) -> bytes:
        path = step.path_prefix + self._request.path[len(b"/v1") :]
        return asking(path, step.head + self._forwarded, self._body_for(step))

    def _body_for(self, step: Step) -> bytes:
        return self._body if step is self._order[0] else self._encoded(step)

    def _encoded(self, step: Step) -> bytes:
        return self._call.encoded(step.route.served_name)

    # What the engine tells.

    def upstream_head(self, status: int, headers: Headers, *, length_known: bool) -> None:
        outcome = answer.failure(status, self._call.fields, embeds=self._request.path == EMBEDDINGS)
        fields, kind = answer_fields(headers)
        self._status = status
        self._length_known = length_known
        if outcome is None and status <= answer.HTTP_OK_MAX:
            if kind == b"text/event-stream" and self._call.stream:
                self._scan = self._new_scan()
            elif kind != b"application/json":
                outcome = "NotAnAnswer"
        if outcome is not None:
            if (pause_s := answer.pause_s(status, headers)) is not None:
                self._step.pool.pause(self._replica, pause_s, now_s=self._loop.time())
            if outcome == answer.UNSUPPORTED:
                self._tries.move_on()  # its other replicas would say the same
            self._retry(outcome)
            return
        self._fields = fields

    def _new_scan(self) -> EventScan:
        return EventScan(keep_usage=self._call.wants_usage)

    def upstream_body(self, data: bytes) -> None:
        if self._scan is not None:
            self._relay_events(self._scan, data)
        elif self._passing:
            self._last_byte_s = self._loop.time()
            self._held_bytes += len(data)
            self._client.write(data)
        else:
            self._held.append(data)
            self._held_bytes += len(data)
            if self._bodies.keep(self, len(data)) or self._held_bytes > HELD_BYTES_MAX:
                self._pass_on()

    def _pass_on(self) -> None:
        """The answer is too large to hold until it is complete."""
        if self._length_known:
            self._passing = True
            self._client.write(self._commit())
        else:
            self._retry("Oversized")  # it would end with its connection, and half of it would look whole

    def _relay_events(self, scan: EventScan, data: bytes) -> None:
        before = scan.events
        out = scan.feed(data)
        now_s = self._loop.time()
        fresh = scan.events - before
        if not self._committed:
            if scan.events == 0:
                self._hold_comments(out, scan)
                return
            self._first_s = now_s
            self._step.stats.first_token.observe(now_s - self._arrived_s)
            out = self._commit() + out
        elif fresh and not self._slow:
            self._step.stats.inter_token.observe((now_s - self._last_byte_s) / fresh, fresh)
        self._last_byte_s = now_s
        if out:
            self._client.write(out)
        if scan.broken is not None:
            self._break(scan.broken, refusal.BROKEN)

    def _hold_comments(self, out: bytes, scan: EventScan) -> None:
        """They do not commit to this tier."""
        self._held.append(out)
        self._held_bytes += len(out)
        if scan.broken is not None or self._held_bytes > HELD_BYTES_MAX:
            self._retry(scan.broken or "Oversized")

    def _commit(self) -> bytes:
        """From here on the client gets this answer, or a broken one.  Gives what was held back so far."""
        self._committed = True
        self._journey.opened_s = self._loop.time()
        self._open(length=None)
        held, self._held = b"".join(self._held), []
        self._body, self._call.fields = b"", {}  # there will be no other attempt
        self._bodies.give(self)
        return held

    def _open(self, *, length: int | None) -> None:
        """Tell the client how its answer begins, and who gave it."""
        told = self._journey.fields(self._step.route.name)
        self._client.begin(self._status, self._fields + told, length=length)

    def upstream_end(self) -> None:
        scan = self._scan
        if scan is not None:
            if not scan.done:
                self.upstream_lost("Truncated", stale=False)
                return
            if not self._committed:  # no event but [DONE]
                self._client.write(self._commit())
            used = scan.usage or (0, scan.events)  # not every event is one token
            self._step.stats.streamed(used[1], self._last_byte_s - self._first_s)
            self._answered(used)
        elif self._passing:
            self._answered((0, 0))
        else:
            self._end_whole(self._held[0] if len(self._held) == 1 else b"".join(self._held))

    def _end_whole(self, body: bytes) -> None:
        """All of an answer that was not streamed is here."""
        if self._status <= answer.HTTP_OK_MAX:
            outcome = answer.fault(body, length_known=self._length_known)
        else:
            outcome = spill.declined(self._step, self._status, body, self._tries)
        if outcome is None:
            self._send_whole(body, answer.usage(body))
        else:
            self._retry(outcome)

    def _send_whole(self, body: bytes, used: tuple[int, int]) -> None:
        self._open(length=len(body))
        self._client.write(body)
        self._answered(used)

    def _answered(self, used: tuple[int, int]) -> None:
        """The client has its answer; `used`: its input and output tokens."""
        stats = self._step.stats
        self._spend(used)
        stats.answered += 1
        stats.duration.observe(self._loop.time() - self._start_s)
        self._leave("Answered")
        self._over(account.ANSWERED, self._status, used)
        self._client.finish()

    def upstream_lost(self, outcome: str, *, stale: bool) -> None:
        if self._committed:
            self._break(outcome, refusal.BROKEN)
        elif stale and self._first_try:
            # The engine closed a kept-alive connection just as we used it: no fault of anybody's, so free of charge.
            self._first_try = False
            self._upstream = self._replica.send(self, self._upstream_request(self._step), fresh=True)
        else:
            self._retry(outcome)

    # What the client tells.

    def client_gone(self) -> None:
        used = self._count_partly()
        if self._upstream is not None or self._waits:
            said = self._waits or self._committed or self._held_bytes > 0
            asked_s = self._loop.time() - self._attempt_s
            self._drop(patience.leaving(asked_s, said=said, stream=self._call.stream))
        self._over(account.CANCELLED, self._status if self._committed else account.CLIENT_LEFT, used)

    def client_slow(self) -> None:
        self._slow = True
        if self._upstream is not None:
            self._upstream.pause()

    def client_ready(self) -> None:
        self._slow, self._first_s = False, NEVER_S  # this answer does not show how fast its engine is
        self._last_byte_s = self._loop.time()
        if self._upstream is not None:
            self._upstream.resume()

    # How it ends otherwise.

    def _retry(self, outcome: str) -> None:
        """The attempt failed and the client has seen nothing of it."""
        upstream = self._upstream
        self._leave(outcome)
        if upstream is not None:
            upstream.detach()
        self._attempt()

    def _break(self, outcome: str, refused: Refusal) -> None:
        """The answer broke off after its first byte."""
        used = self._count_partly()
        self._drop(outcome)
        self._entry.errors["Broken"] += 1
        self._client.patron = None
        if self._scan is not None:
            self._client.write(b"data: %b\n\n" % refused.body())
        self._over(account.BROKEN, self._status, used, refused.code)
        self._client.cut()

    def _count_partly(self) -> tuple[int, int]:
        """What an engine has made of a stream was made, whether or not it came to its end."""
        if not self._committed or self._scan is None:
            return 0, 0
        used = self._scan.usage or (0, self._scan.events)
        self._spend(used)
        return used

    def _spend(self, used: tuple[int, int]) -> None:
        """The attempt took these input and output tokens, as far as its engine told them."""
        self._step.stats.spend(used)
        if self.charged and used[0]:
            self._step.pool.told(self, used)

    def _give_up(self, refused: Refusal) -> None:
        self._entry.errors[refused.reason] += 1
        refused = timed(refused, self._tries.seen(), self._loop.time())
        self._client.refuse(refused, b"x-modelfleet-attempts: %d\r\n" % self._journey.attempts)
        self._over(account.REFUSED, refused.status, code=refused.code)

    def _over(self, how: str, status: int, used: tuple[int, int] = (0, 0), code: str | None = None) -> None:
        """The request has ended, in one way or another: called once for each that began."""
        self._bodies.give(self)
        if self._recorder.on:
            journey, scan = self._journey, self._scan
            journey.used = used
            if self._committed or how == account.ANSWERED:
                journey.answer_bytes = self._held_bytes if scan is None else scan.bytes
            end, route = account.End(how, status, code, self._loop.time()), self._passage.route
            self._recorder.over(end, self._request, self._call.stream, route, journey, self._trace)

    def _drop(self, outcome: str) -> None:
        """Stop the attempt under way, or the wait for one."""
        upstream = self._upstream
        self._leave(outcome)
        if upstream is not None:
            upstream.abort()

    def _leave(self, outcome: str) -> None:
        """The attempt under way is over, or the wait for it."""
        step = self._step
        step.stats.in_flight -= 1
        self._journey.outcomes.add(outcome)
        if self._waits:
            self._waits = False
            step.pool.quit(self)
            return
        if self._trace is not None:
            self._trace.left(outcome, self._journey)
        step.stats.attempts[outcome] += 1
        self._tries.ended(outcome)
        self._upstream = None
        step.pool.leave(self._replica, outcome, since_s=self._attempt_s, now_s=self._loop.time())

    def _arm(self, now_s: float, due_s: float = NEVER_S) -> None:
        """Look at the limits then, not at every byte; after one silence, as they come nearer when a stream begins."""
        due_s = min(due_s, self._attempt_due_s(), self._deadline_s, now_s + patience.SILENCE_S_MAX)
        self._client.ring_at(due_s)

    def tick(self) -> None:
        now_s = self._loop.time()
        late = now_s >= self._deadline_s
        if not late and now_s < self._attempt_due_s():
            self._arm(now_s)
        elif self._committed:
            self._break("Deadline" if late else "Silence", refusal.DEADLINE if late else refusal.BROKEN)
        else:
            self._drop("Deadline" if late else "Timeout")
            if late:
                self._give_up(refusal.DEADLINE)
            else:
                self._attempt()

    def _attempt_due_s(self) -> float:
        # A client that reads slowly holds the engine back: that is not its silence.
        if self._waits or (self._committed and self._slow):
            return self._deadline_s
        route = self._step.route
        return patience.due_s(self._attempt_s, self._last_byte_s, route.timeout_s, began=self._committed)
