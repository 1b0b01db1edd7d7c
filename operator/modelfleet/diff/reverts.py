"""A number that two want to write: how often somebody set ours back, and when to leave it to them."""

from dataclasses import dataclass, replace

REVERTS_MAX = 3
WINDOW_S = 600.0


@dataclass(frozen=True, slots=True)
class Written:
    """What the number should still be, as far as we know, and when it turned out to be something else."""

    replicas: int
    reverted_at_s: tuple[float, ...] = ()


def looked(past: Written | None, *, running: int | None, now_s: float) -> Written | None:
    """What is known after a look: another number than the one that we left is a revert, counted once."""
    if past is None or running is None:
        return past
    recent = tuple(at_s for at_s in past.reverted_at_s if at_s > now_s - WINDOW_S)
    if running != past.replicas:
        recent = (*recent, now_s)
    return Written(running, recent)


def wrote(past: Written | None, replicas: int) -> Written:
    """What is known after a write."""
    return Written(replicas) if past is None else replace(past, replicas=replicas)


def contested(past: Written | None) -> bool:
    """Whether somebody else writes it, too: two who do not give in would replace pods for ever."""
    return past is not None and len(past.reverted_at_s) >= REVERTS_MAX
