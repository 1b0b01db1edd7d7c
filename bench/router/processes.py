"""CPU time and memory of a process and all its children, and of the whole CPU, out of /proc."""

import os
from pathlib import Path

_PROC = Path("/proc")
_TICK_S = 1 / os.sysconf("SC_CLK_TCK")


def tree(pid: int) -> list[int]:
    """The process and its descendants."""
    children: dict[int, list[int]] = {}
    for each in _PROC.iterdir():
        if each.name.isdigit():
            try:
                parent = int((each / "stat").read_text().rpartition(")")[2].split()[1])
            except (OSError, IndexError):
                continue  # it ended in between
            children.setdefault(parent, []).append(int(each.name))
    found = [pid]
    for one in found:
        found.extend(children.get(one, ()))
    return found


def cpu_s(pids: list[int]) -> float:
    """CPU seconds that all threads of these processes have used, by the scheduler's count of nanoseconds."""
    total = 0
    for pid in pids:
        for task in (_PROC / str(pid) / "task").iterdir():
            total += int((task / "schedstat").read_text().split()[0])
    return total / 1e9


def rss_mib(pids: list[int]) -> float:
    """Resident memory now."""
    kib = 0
    for pid in pids:
        lines = (_PROC / str(pid) / "status").read_text().splitlines()
        kib += next(int(line.split()[1]) for line in lines if line.startswith("VmRSS"))
    return kib / 1024


def busy(cpu: int) -> float:
    """Seconds that one CPU has worked since boot, for anybody."""
    for line in (_PROC / "stat").read_text().splitlines():
        if line.startswith(f"cpu{cpu} "):
            ticks = [int(word) for word in line.split()[1:]]
            return (sum(ticks[:3]) + sum(ticks[5:8])) * _TICK_S  # all but idle and waiting for disks
    raise ValueError(f"there is no CPU {cpu}")
