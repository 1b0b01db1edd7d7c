"""What the probes say: only what is true, and why."""

from collections.abc import Callable
from dataclasses import dataclass

from modelfleet.control.context import Context
from modelfleet.control.queue import STUCK_LIMIT_S, WorkQueue

OVERDUE_LIMIT_S = 30.0  # a watch delivers in milliseconds; kopf itself notices a silent one after 70 s


@dataclass(slots=True)
class Health:
    """Judges the running operator.  `synced`: whether everything was listed once."""

    ctx: Context
    queue: WorkQueue
    synced: Callable[[], bool]

    def unhealthy(self) -> str | None:
        """Why a restart would help; None when it would not."""
        now_s = self.ctx.clock.now_s()
        if self.ctx.view.overdue_s(now_s) > OVERDUE_LIMIT_S:
            first = self.ctx.view.overdue(since_s=now_s - OVERDUE_LIMIT_S)[0]
            where = f"{first.kind} {first.namespace}/{first.name}"
            return f"the watches are silent: a change of {where} has not come for more than {OVERDUE_LIMIT_S:.0f} s"
        if self.queue.stuck_s() > STUCK_LIMIT_S:
            return f"the work queue is stuck: one reconcile takes more than {STUCK_LIMIT_S:.0f} s"
        return None

    def not_ready(self) -> str | None:
        """Why this process cannot lead yet; None when it can, or does."""
        if not self.synced():
            return "not everything has been listed yet"
        return self.unhealthy()
