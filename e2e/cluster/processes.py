"""Child processes that never outlive us.

Each child asks the kernel for SIGKILL at our death (`setpriv --pdeathsig`), so even a SIGKILL of the
test run leaves nothing behind.  Nothing they store is worth a graceful stop.
"""

import os
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO

POLL_S = 0.05
# We may die before the child has asked; then it has another parent, and must not begin.
STILL_OURS = '[ "$PPID" = "$0" ] && exec "$@"'
LOG_LINES_SHOWN = 15


class ProcessDied(RuntimeError):
    """A part ended on its own.  The message carries the last lines of its log."""


class NotReady(RuntimeError):
    """Something did not become ready within its limit."""


@dataclass
class Processes:
    """Named children with one log file each.

    Start them from a thread that lives as long as they should: the kernel ties the death signal to the
    thread that forked.
    """

    logs: Path
    children: dict[str, subprocess.Popen[bytes]] = field(default_factory=dict)

    def start(self, name: str, argv: Sequence[str], env: Mapping[str, str] | None = None) -> None:
        with self._log(name).open("ab") as log:
            self.children[name] = spawn(argv, log, env)

    def check(self) -> None:
        """Raise ProcessDied if any child has ended."""
        for name, child in self.children.items():
            if (code := child.poll()) is not None:
                raise ProcessDied(
                    f"{name} ended with {code}; {self._log(name)} says:\n{tail(self._log(name))}"
                )

    def wait_for(self, what: str, ready: Callable[[], bool], *, limit_s: float) -> None:
        """Return once `ready()`; raise ProcessDied or NotReady."""
        deadline = time.monotonic() + limit_s
        while not ready():
            self.check()
            if time.monotonic() > deadline:
                raise NotReady(f"{what} was not ready within {limit_s:.0f} s; logs are in {self.logs}")
            time.sleep(POLL_S)

    def stop(self) -> None:
        for child in reversed(self.children.values()):
            child.kill()
        for child in self.children.values():
            child.wait()
        self.children.clear()

    def _log(self, name: str) -> Path:
        return self.logs / f"{name}.log"


def spawn(
    argv: Sequence[str],
    log: IO[bytes],
    env: Mapping[str, str] | None = None,
    *,
    inherit: Sequence[int] = (),
) -> subprocess.Popen[bytes]:
    """Start `argv` with its output in `log` and the descriptors `inherit` open."""
    return subprocess.Popen(
        ["setpriv", "--pdeathsig", "KILL", "--", "sh", "-c", STILL_OURS, str(os.getpid()), *argv],
        stdin=subprocess.DEVNULL,
        stdout=log,
        stderr=subprocess.STDOUT,
        env=env,
        pass_fds=inherit,
        # A Ctrl-C belongs to us; the children go when we say so.
        start_new_session=True,
    )


def tail(log: Path, lines: int = LOG_LINES_SHOWN) -> str:
    text = log.read_text(errors="replace") if log.exists() else ""
    return "\n".join(text.splitlines()[-lines:])
