"""Whether a request leaves a tier that cannot take it, and for which one."""

from modelfleet.route import answer, context, overflow, waiting
from modelfleet.route.choose import Tries
from modelfleet.route.journey import Journey
from modelfleet.router.fleet import Passage, Step
from modelfleet.router.upstream import Replica


def passed_over(
    tries: Tries[Step, Replica], passage: Passage, journey: Journey, *, step: Step, why: str, now_s: float
) -> bool:
    """Whether the request goes on without this step, to the next one or to none.

    `why`: the step does not take it, in the pool's word; empty: it does, after a wait.
    """
    spills = passage.share is not None and moved(tries, passage, journey, step=step, why=why, now_s=now_s)
    if not why:
        return spills
    step.stats.turned_away[why] += 1
    if why in waiting.TOLD:
        journey.outcomes.add(why)
    if passage.share is not None:
        if not spills:
            tries.stop()
    elif why in waiting.STAYS and not journey.attempts:
        tries.stop()
    else:
        tries.move_on()
    return True


def moved(
    tries: Tries[Step, Replica], passage: Passage, journey: Journey, *, step: Step, why: str, now_s: float
) -> bool:
    """Move on to the first of the next tiers that can take it; whether there is one and the overflow rule allows it.

    `why`: the step does not take the request, in the pool's word; empty: it does, after a wait.  A request counts
    once, at the first tier that it leaves.
    """
    rule, share = passage.route.overflow, passage.share
    cause = overflow.cause(why, replicas=len(step.pool.replicas), external=step.pool.external)
    if cause == overflow.ERROR and journey.outcomes & answer.UNFIT:
        tries.move_on()  # nothing failed: this tier is not for such requests
        return True
    if rule is None or share is None or cause not in rule.when:
        return False
    # To wait elsewhere is no better than to wait here, and would take places in line from those who belong there.
    at_once = not why or cause == overflow.SATURATED
    places = [place for place, one in enumerate(tries.rest()) if one.pool.takes(now_s, at_once=at_once)]
    if not places or not (journey.overflow or share.take(now_s)):
        return False
    step.stats.overflowed[cause] += 1
    journey.overflow = journey.overflow or cause
    for _ in range(places[0] + 1):
        tries.move_on()
    return True


def declined(step: Step, status: int, body: bytes, tries: Tries[Step, Replica]) -> str | None:
    """What became of the attempt, when its engine declines the request for what it is and others may take it.

    None: the engine has the last word.
    """
    if answer.reads_text_only(status, body):
        if status < answer.HTTP_SERVER_ERROR and not tries.rest():
            return None
        tries.move_on()  # its other replicas would say the same
        return answer.UNSUPPORTED_INPUT
    if status >= answer.HTTP_SERVER_ERROR:
        return "Status5xx"
    return outgrown(step, status, body, tries)


def outgrown(step: Step, status: int, body: bytes, tries: Tries[Step, Replica]) -> str | None:
    """What became of the attempt, when its engine says that the request is too long and other tiers may hold it.

    Of the next tiers only those are left then.  None: the engine said something else, or has the last word.
    """
    limit = context.refused(status, body)
    if limit is None:
        return None
    limit = limit or step.route.context_tokens or 0
    longer = [one for one in tries.rest() if context.longer(one.route, limit)]
    return "TooLong" if tries.skip_to(longer) else None
