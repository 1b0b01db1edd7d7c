"""What the demo says while it runs: one line per thing seen, and a line that moves while it waits."""

import time
from collections.abc import Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.status import Status

# Where nobody watches a spinner, a line as often as this says that it goes on.
HEARTBEAT_S = 10.0
LOG_WIDTH_CHARS = 150


class Voice:
    def __init__(self) -> None:
        self.console = Console(highlight=False)
        if not self.console.is_terminal:
            self.console.width = LOG_WIDTH_CHARS
        self._start = time.monotonic()
        self._status: Status | None = None
        self._last_beat = 0.0

    def scene(self, title: str) -> None:
        self.console.print(f"\n[bold]{self._clock()}  {title}[/bold]")

    def seen(self, text: str) -> None:
        self.console.print(f"{self._clock()}  [green]✓[/green] {text}", soft_wrap=True)

    def say(self, text: str) -> None:
        self.console.print(f"{self._clock()}    {text}", soft_wrap=True, style="dim")

    def fail(self, text: str) -> None:
        self.console.print(f"{self._clock()}  [red]✗[/red] {text}", soft_wrap=True)

    @contextmanager
    def waiting(self, text: str) -> Iterator[None]:
        """While the block runs, `progress` replaces the moving line."""
        self._last_beat = time.monotonic()
        with self.console.status(text) as self._status:
            yield
        self._status = None

    def progress(self, text: str) -> None:
        if self._status and self.console.is_terminal:
            self._status.update(text)
        elif time.monotonic() - self._last_beat > HEARTBEAT_S:
            self._last_beat = time.monotonic()
            self.say(text)

    def seconds(self) -> float:
        return time.monotonic() - self._start

    def _clock(self) -> str:
        minutes, seconds = divmod(int(self.seconds()), 60)
        return f"{minutes:2d}:{seconds:02d}"
