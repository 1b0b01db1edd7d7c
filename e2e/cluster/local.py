"""Starting, finding and stopping the local cluster, from outside.

One process supervises each cluster: it holds the state folder's lock, and the kernel ends the cluster when
it dies, however it dies.  A state folder whose lock is free is therefore stale, whatever lies in it.
"""

import contextlib
import fcntl
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import IO

from e2e.cluster import cgroups, containers, gotools, imageset, node, packages, paths, relay, store
from e2e.cluster.processes import POLL_S, NotReady, ProcessDied, spawn, tail
from e2e.cluster.progress import say, step

START_LIMIT_S = 180.0
STOP_LIMIT_S = 15.0
PROGRAMS = (*gotools.CONTROL_PLANE, "kube-scheduler", "kubelet", "kube-proxy", "kwok", "helm")


class ClusterError(RuntimeError):
    """The cluster cannot be used; the message says what to do about it."""


@dataclass(frozen=True)
class Running:
    """A cluster that answers.  `pid` is a process inside, as seen from outside."""

    state: Path
    supervisor: int
    pid: int
    server: str
    assets: Path

    @property
    def kubeconfig(self) -> Path:
        """For processes on this machine."""
        return self.state / "kubeconfig"

    @property
    def kubeconfig_inside(self) -> Path:
        """For commands run by `command`, and faster: no relay between."""
        return self.state / "kubeconfig-inside"

    def command(self, *argv: str) -> list[str]:
        """`argv`, wrapped so that it runs in the cluster's network, mounts and process tree."""
        return [
            "nsenter", f"--target={self.pid}", "--net", "--mount", "--pid", f"--wd={Path.cwd()}", "--",
            "env", f"KUBECONFIG={self.kubeconfig_inside}", *argv,
        ]  # fmt: skip

    def environment(self) -> Mapping[str, str]:
        """For commands outside: the kubeconfig, and kubectl and helm on PATH."""
        return {
            **os.environ,
            "KUBECONFIG": str(self.kubeconfig),
            "PATH": f"{self.assets}:{os.environ.get('PATH', '')}",
        }

    def kubectl(self, *args: str, stdin: str | None = None) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [self.assets / "kubectl", *args],
            input=stdin,
            env=self.environment(),
            capture_output=True,
            text=True,
            check=False,
        )


def running(state: Path | None = None) -> Running | None:
    """The cluster of this state folder, or None; stale files do not count."""
    folder = state or paths.state()
    file = folder / "cluster.json"
    if not file.exists() or not _is_locked(folder):
        return None
    found = json.loads(file.read_text())
    return Running(folder, found["supervisor"], found["pid"], found["server"], Path(found["assets"]))


@contextmanager
def cluster(state: Path | None = None, *, kwok: bool = True) -> Iterator[Running]:
    """The running cluster if there is one, else a new one for as long as the block lasts."""
    if found := running(state):
        yield found
        return
    with start(state, kwok=kwok) as started:
        yield started


@contextmanager
def start(state: Path | None = None, *, kwok: bool = False) -> Iterator[Running]:
    """A new cluster for as long as the block lasts; raises ClusterError when it cannot be had."""
    folder = state or paths.state()
    prepare()
    assets, archives = build_all()
    with _own(folder), contextlib.ExitStack() as stack:
        name = f"{cgroups.PREFIX}{os.getpid()}-{time.monotonic_ns()}"
        stack.callback(cgroups.remove, name)
        stack.callback(_forget, folder)
        with step("starting the cluster", typical_s=15):
            store.copy_latest(archives, node.containerd_root(paths.made(folder / "node")))
            process, port = _launch(folder, assets=assets, kwok=kwok, cgroup=name)
            stack.callback(_kill, process)
            _wait_until_ready(folder, process)
        found = Running(folder, os.getpid(), _first_child(process.pid), f"https://127.0.0.1:{port}", assets)
        _remember(found)
        yield found


def hold(state: Path | None = None, *, kwok: bool = False) -> None:
    """Start a cluster and keep it until SIGTERM, SIGINT or the end of one of its parts."""
    signal.signal(signal.SIGTERM, _interrupt)
    signal.signal(signal.SIGHUP, _interrupt)
    with contextlib.suppress(KeyboardInterrupt), start(state, kwok=kwok) as found:
        say(f"ready; export KUBECONFIG={found.kubeconfig}")
        while Path(f"/proc/{found.pid}").exists():
            time.sleep(1.0)
        raise ClusterError(f"a part of the cluster ended:\n{tail(found.state / 'logs' / 'cluster.log')}")


def detach(state: Path | None = None, *, kwok: bool = False) -> Running:
    """Start a cluster that outlives this process, and return when it is ready."""
    folder = paths.made(state or paths.state())
    argv = [sys.executable, "-m", "e2e.cluster", "up", f"--state={folder}", *(["--kwok"] if kwok else [])]
    said = folder / "up.log"
    with said.open("wb") as log, said.open("rb") as shown:
        # Not our own output: whoever reads that to its end would wait for the end of the cluster.
        process = subprocess.Popen(
            argv, stdin=subprocess.DEVNULL, stdout=log, stderr=log, cwd=paths.REPO, start_new_session=True
        )
        while process.poll() is None:
            _show(shown)
            if (found := running(folder)) and found.supervisor == process.pid:
                return found
            time.sleep(POLL_S)
        _show(shown)
    raise ClusterError("the cluster did not start; what it said stands above")


def _show(log: IO[bytes]) -> None:
    sys.stderr.write(log.read().decode(errors="replace"))
    sys.stderr.flush()


def stop(state: Path | None = None) -> bool:
    """End the cluster of this state folder; False if none was running."""
    found = running(state)
    if not found:
        return False
    os.kill(found.supervisor, signal.SIGTERM)
    deadline = time.monotonic() + STOP_LIMIT_S
    while _is_locked(found.state):
        if time.monotonic() > deadline:
            os.kill(found.supervisor, signal.SIGKILL)
        time.sleep(POLL_S)
    return True


def build_all() -> tuple[Path, Path]:
    """The folder of programs and that of images.  The first time one waits for processors, the other for the net."""
    with ThreadPoolExecutor(2) as pool:
        images = pool.submit(imageset.build_all)
        assets = gotools.assets(PROGRAMS)
        archives = images.result()
    store.ensure(archives)
    return assets, archives


def load(found: Running) -> list[str]:
    """Build the images again and replace those that changed; pods get them when they next start."""
    archives = [archive.resolve() for archive in sorted(imageset.build_all().glob("*.tar"))]
    record = node.containerd_root(found.state / "node") / store.LOADED
    loaded = store.recalled(record)
    changed = [archive for archive in archives if archive.name not in loaded]
    for archive in changed:
        node.run(*found.command("ctr", "--namespace", containers.NAMESPACE, "images", "import", str(archive)))
    store.remember(record, archives)
    return [archive.name for archive in changed]


def prepare() -> None:
    """Check that this machine can do it, and install the Debian packages that are missing."""
    if os.geteuid() != 0:
        raise ClusterError("the local cluster needs root (namespaces, mounts); use sudo, or set E2E_CONTEXT")
    packages.ensure()


@contextmanager
def _own(folder: Path) -> Iterator[None]:
    """Hold the folder's lock, with what an earlier cluster left in it removed."""
    paths.made(folder)
    with (folder / "lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise ClusterError(f"a cluster already runs in {folder}; `make cluster-down` ends it") from None
        _forget(folder)
        shutil.rmtree(folder / "logs", ignore_errors=True)
        _remove_stale_cgroups()
        yield


def _is_locked(folder: Path) -> bool:
    try:
        with (folder / "lock").open("r") as lock:
            fcntl.flock(lock, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    except FileNotFoundError:
        return False
    return False


def _forget(folder: Path) -> None:
    """Remove all of a cluster but its logs, which somebody may want to read."""
    for name in ("cluster.json", "kubeconfig", "kubeconfig-inside", "ready", "failed"):
        (folder / name).unlink(missing_ok=True)
    shutil.rmtree(folder / "node", ignore_errors=True)


def _remember(found: Running) -> None:
    content = {key: value if isinstance(value, int) else str(value) for key, value in asdict(found).items()}
    unfinished = found.state / ".cluster.json"
    unfinished.write_text(json.dumps(content))
    unfinished.replace(found.state / "cluster.json")


def _launch(folder: Path, *, assets: Path, kwok: bool, cgroup: str) -> tuple[subprocess.Popen[bytes], int]:
    listener = relay.listen()
    port: int = listener.getsockname()[1]
    inside = [
        sys.executable, "-m", "e2e.cluster.inside", f"--state={folder}", f"--assets={assets}",
        f"--cgroup={cgroup}", f"--api-listener={listener.fileno()}",
        *(["--kwok"] if kwok else []),
    ]  # fmt: skip
    unshare = ["unshare", "--net", "--mount", "--pid", "--fork", "--mount-proc", "--kill-child", "--"]
    paths.made(folder / "logs")
    with listener, _log(folder) as log:
        env = {**os.environ, "PYTHONPATH": str(paths.REPO)}
        return spawn([*unshare, *inside], log, env, inherit=[listener.fileno()]), port


def _log(folder: Path) -> IO[bytes]:
    return (folder / "logs" / "cluster.log").open("ab")


def _wait_until_ready(folder: Path, process: subprocess.Popen[bytes]) -> None:
    deadline = time.monotonic() + START_LIMIT_S
    while not (folder / "ready").exists():
        if process.poll() is not None:
            failed = folder / "failed"
            why = failed.read_text() if failed.exists() else tail(folder / "logs" / "cluster.log")
            raise ProcessDied(f"the cluster did not start: {why}")
        if time.monotonic() > deadline:
            raise NotReady(f"the cluster was not ready in {START_LIMIT_S:.0f} s; logs are in {folder}/logs")
        time.sleep(POLL_S)


def _first_child(pid: int) -> int:
    return int(Path(f"/proc/{pid}/task/{pid}/children").read_text().split()[0])


def _kill(process: subprocess.Popen[bytes]) -> None:
    """Kill the first process of the namespace, and wait until the kernel has ended all others."""
    with contextlib.suppress(OSError, IndexError):
        os.kill(_first_child(process.pid), signal.SIGKILL)
    with contextlib.suppress(subprocess.TimeoutExpired):
        process.wait(STOP_LIMIT_S)
    process.kill()
    process.wait()


def _remove_stale_cgroups() -> None:
    for hierarchy in cgroups.hierarchies():
        for group in hierarchy.glob(f"{cgroups.PREFIX}*"):
            owner = group.name.removeprefix(cgroups.PREFIX).split("-")[0]
            if not Path(f"/proc/{owner}").exists():
                cgroups.remove(group.name)


def _interrupt(number: int, _frame: object) -> None:
    raise KeyboardInterrupt(f"signal {number}")


def run_inside(found: Running, argv: Sequence[str]) -> int:
    """Run a command inside with our own terminal; its exit code."""
    return subprocess.run(found.command(*argv), check=False).returncode
