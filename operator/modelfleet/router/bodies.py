"""What the bodies of all requests and answers that are held may weigh together.

A request's is kept until its answer begins, as another tier may have to be asked; an answer that is no stream, or that
is judged, until it is complete.  Many that are just below the limit for one would be more than the pod may use, and a
router that is killed for that loses the requests of everybody.  A request too many is refused; an answer too many is
sent as it comes.
"""

from pathlib import Path
from typing import Protocol

from modelfleet.route import refusal
from modelfleet.route.refusal import Refused

BYTES_MAX = 256 * 1024 * 1024  # where nothing bounds the process
# Of the memory that the process may use: a body is held parsed, as its engine gets it, and on its way there.
_PART = 8
_CGROUP_FILES = ("/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory/memory.limit_in_bytes")


# An answer that is not larger is held in any case: parting from it would free nothing, and most are whole when they come.
SMALL_BYTES = 64 * 1024


class Holder(Protocol):
    """A request whose body is held, and its answer's."""

    size: int  # of its body, in bytes
    kept: int  # bytes of its answer that are held


class Bodies:
    """The bodies that one router holds."""

    __slots__ = ("answers_held", "answers_max", "bytes_held", "bytes_max", "unheld")

    def __init__(self) -> None:
        self.bytes_held = 0
        self.bytes_max = BYTES_MAX
        self.answers_held = 0  # in bytes
        self.answers_max = BYTES_MAX
        self.unheld = 0  # answers that were one too many

    def bound(self, part_bytes: int) -> None:
        """Keep to the memory of a container.  `part_bytes`: a part of it (see `bytes_max`)."""
        self.bytes_max = self.answers_max = part_bytes

    def take(self, holder: Holder) -> None:
        """Hold one more.  Raises Refused (503) when it is too much; one alone never is."""
        if self.bytes_held and self.bytes_held + holder.size > self.bytes_max:
            raise Refused(refusal.FULL)
        self.bytes_held += holder.size

    def give(self, holder: Holder) -> None:
        """Its body is not needed any more; it may be said twice."""
        self.bytes_held -= holder.size
        holder.size = 0
        self.let_go(holder)

    def keep(self, holder: Holder, count: int) -> bool:
        """Hold so many bytes more of an answer.  Whether it is one too many, which is to be sent as it comes."""
        holder.kept += count
        self.answers_held += count
        if self.answers_held <= self.answers_max or holder.kept <= SMALL_BYTES:
            return False
        self.unheld += 1
        return True

    def let_go(self, holder: Holder) -> None:
        """Nothing of its answer is held any more."""
        self.answers_held -= holder.kept
        holder.kept = 0


def bytes_max(files: tuple[str, ...] = _CGROUP_FILES) -> int:
    """How much this process may hold, by the memory that its container may use."""
    for file in files:
        try:
            return min(BYTES_MAX, int(Path(file).read_text(encoding="ascii")) // _PART)
        except (OSError, ValueError):  # the latter: "max", there is no limit
            continue
    return BYTES_MAX
