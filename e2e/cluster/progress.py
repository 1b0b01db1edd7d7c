"""Progress on standard error: what is being done, for how long, and how long it usually takes."""

import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

HEARTBEAT_S = 20.0


def say(text: str) -> None:
    print(f"[cluster] {text}", file=sys.stderr, flush=True)


@contextmanager
def step(what: str, *, typical_s: float | None = None) -> Iterator[None]:
    """Announce `what`, remind every HEARTBEAT_S that it is still going, and say how long it took."""
    usual = f" (about {typical_s:.0f} s the first time, on 2 cores)" if typical_s else ""
    say(f"{what}{usual}")
    start = time.monotonic()
    done = threading.Event()
    beat = threading.Thread(target=_beat, args=(what, start, done), daemon=True)
    beat.start()
    try:
        yield
    finally:
        done.set()
        beat.join()
    say(f"{what}: done in {time.monotonic() - start:.0f} s")


def _beat(what: str, start: float, done: threading.Event) -> None:
    while not done.wait(HEARTBEAT_S):
        say(f"{what}: {time.monotonic() - start:.0f} s so far")
