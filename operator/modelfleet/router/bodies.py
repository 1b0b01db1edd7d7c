"""What the bodies of all requests under way may weigh together.

Each is kept until its answer begins, as another tier may have to be asked.  Many that are just below the limit for one
would be more than the pod may use, and a router that is killed for that loses the requests of everybody.
"""

from pathlib import Path
from typing import Protocol

from modelfleet.route import refusal
from modelfleet.route.refusal import Refused

BYTES_MAX = 256 * 1024 * 1024  # where nothing bounds the process
# Of the memory that the process may use: a body is held parsed, as its engine gets it, and on its way there.
_PART = 8
_CGROUP_FILES = ("/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory/memory.limit_in_bytes")


class Holder(Protocol):
    """A request whose body is held."""

    size: int  # of its body, in bytes


class Bodies:
    """The bodies that one router holds."""

    __slots__ = ("bytes_held", "bytes_max")

    def __init__(self) -> None:
        self.bytes_held = 0
        self.bytes_max = BYTES_MAX

    def take(self, holder: Holder) -> None:
        """Hold one more.  Raises Refused (503) when it is too much; one alone never is."""
        if self.bytes_held and self.bytes_held + holder.size > self.bytes_max:
            raise Refused(refusal.FULL)
        self.bytes_held += holder.size

    def give(self, holder: Holder) -> None:
        """Its body is not needed any more; it may be said twice."""
        self.bytes_held -= holder.size
        holder.size = 0


def bytes_max(files: tuple[str, ...] = _CGROUP_FILES) -> int:
    """How much this process may hold, by the memory that its container may use."""
    for file in files:
        try:
            return min(BYTES_MAX, int(Path(file).read_text(encoding="ascii")) // _PART)
        except (OSError, ValueError):  # the latter: "max", there is no limit
            continue
    return BYTES_MAX
