"""Children that never outlive us, and failures that say why."""

import os
import select
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from e2e.cluster.processes import NotReady, ProcessDied, Processes

LIMIT_S = 10
PARENT = """
import sys, time
from pathlib import Path
from e2e.cluster.processes import Processes
processes = Processes(Path(sys.argv[1]))
processes.start("child", ["sleep", "600"])
print(processes.children["child"].pid, flush=True)
time.sleep(600)
"""


def test_a_child_dies_with_its_killed_parent(tmp_path: Path) -> None:
    parent = subprocess.Popen(
        [sys.executable, "-c", PARENT, str(tmp_path)], stdout=subprocess.PIPE, text=True, cwd=Path.cwd()
    )
    assert parent.stdout is not None
    child = int(parent.stdout.readline())
    # Readable once the process has ended, however long that takes.
    handle = os.pidfd_open(child)

    os.kill(parent.pid, signal.SIGKILL)
    parent.communicate()

    try:
        assert select.select([handle], [], [], LIMIT_S)[0] == [handle]
    finally:
        os.close(handle)


def test_a_death_shows_the_end_of_the_log(tmp_path: Path) -> None:
    processes = Processes(tmp_path)
    processes.start("loud", ["sh", "-c", "echo out of luck; exit 3"])

    with pytest.raises(ProcessDied, match=r"(?s)loud ended with 3.*out of luck"):
        processes.wait_for("never", lambda: False, limit_s=10)


def test_a_wait_has_an_end(tmp_path: Path) -> None:
    with pytest.raises(NotReady, match="never was not ready"):
        Processes(tmp_path).wait_for("never", lambda: False, limit_s=0)
