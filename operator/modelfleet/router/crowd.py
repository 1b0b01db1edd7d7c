"""What all clients of one port together may make us hold: connections, bodies on their way, answers that nobody reads.

Each client has its own limits; these are for many who stay just below them.  Where one must go it is the one who has
been at it for longest, as an honest client is done long before.
"""

from typing import Literal, Protocol

Welcome = Literal["in", "told", "out"]

CLIENTS_MAX = 1 << 30  # where nobody has counted how many the process may have
ARRIVING_BYTES_MAX = 64 * 1024 * 1024
UNREAD_BYTES_MAX = 128 * 1024 * 1024
# Above the limit clients are still told why; so many more, and they are not.
_TOLD_MAX = 256


class Guest(Protocol):
    """A client as the crowd sees it."""

    expires_s: float
    idle_since_s: float

    def close(self) -> None: ...
    def drop(self) -> None: ...
    def expire(self) -> None: ...
    def unread_bytes(self) -> int: ...


class Crowd:
    """All clients of one port.  Time is the loop's, in seconds, and comes in."""

    __slots__ = (
        "_arriving",
        "_arriving_bytes",
        "_unread",
        "arriving_bytes_max",
        "clients",
        "clients_max",
        "unread_bytes_max",
    )

    def __init__(self, *, clients_max: int = CLIENTS_MAX) -> None:
        self.clients: set[Guest] = set()
        self.clients_max = clients_max
        self.arriving_bytes_max = ARRIVING_BYTES_MAX
        self.unread_bytes_max = UNREAD_BYTES_MAX
        self._arriving: dict[Guest, int] = {}  # bytes of its body so far; the oldest first
        self._arriving_bytes = 0
        self._unread: dict[Guest, None] = {}  # who does not read as fast as it is answered; the oldest first

    def shrink(self, part_bytes: int) -> None:
        """Keep to the memory of a small container.  `part_bytes`: an eighth of it."""
        self.arriving_bytes_max = min(ARRIVING_BYTES_MAX, part_bytes)
        self.unread_bytes_max = min(UNREAD_BYTES_MAX, 2 * part_bytes)

    def enter(self, guest: Guest) -> Welcome:
        """Take a new client in.  Whether it may ask, is told why not, or must go without a word."""
        self.clients.add(guest)
        over = len(self.clients) - self.clients_max
        if over <= 0:
            return "in"
        return "told" if over <= _TOLD_MAX else "out"

    def leave(self, guest: Guest) -> None:
        self.clients.discard(guest)
        self.arrived(guest)
        self.reads(guest)

    def arrives(self, guest: Guest, count: int, *, body_bytes_max: int) -> None:
        """`count` more bytes of a body that did not come at once."""
        self._arriving[guest] = self._arriving.get(guest, 0) + count
        self._arriving_bytes += count
        limit = max(self.arriving_bytes_max, 2 * body_bytes_max)
        while self._arriving_bytes > limit and len(self._arriving) > 1:
            # The oldest of those that hold much: parting from the others would free nothing.
            mean = self._arriving_bytes / len(self._arriving)
            oldest = next(each for each, held in self._arriving.items() if held >= mean)
            self.arrived(oldest)
            oldest.expire()

    def arrived(self, guest: Guest) -> None:
        """Its body is here, or will never be."""
        self._arriving_bytes -= self._arriving.pop(guest, 0)

    def stops_reading(self, guest: Guest) -> None:
        self._unread[guest] = None

    def reads(self, guest: Guest) -> None:
        self._unread.pop(guest, None)

    def sweep(self, now_s: float) -> None:
        """Part from clients that were too slow or idle for too long."""
        for guest in [guest for guest in self.clients if guest.expires_s < now_s]:
            guest.expire()
        unread = {guest: guest.unread_bytes() for guest in self._unread}
        total = sum(unread.values())
        for guest, count in unread.items():
            if total <= self.unread_bytes_max:
                break
            total -= count
            guest.drop()

    def close_idle(self, *, idle_since_s: float) -> None:
        """While draining: close connections that wait for a request since `idle_since_s` or longer."""
        for guest in [guest for guest in self.clients if guest.idle_since_s <= idle_since_s]:
            guest.close()
