"""kubectl and helm against the cluster of the demo."""

import json
import os
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

Manifest = dict[str, Any]

COMMAND_LIMIT_S = 120.0
POLL_S = 0.3


class NotSeen(RuntimeError):
    """Something that the demo must show did not happen in time."""


class CommandFailed(RuntimeError):
    """kubectl or helm refused; the message is its own."""


@dataclass(frozen=True)
class Kube:
    """Commands run with `environment`, which names the kubeconfig and has kubectl and helm on its PATH."""

    environment: Mapping[str, str]

    def run(self, *argv: str, stdin: str | None = None, limit_s: float = COMMAND_LIMIT_S) -> str:
        """Standard output of a command; raises CommandFailed when it fails."""
        done = subprocess.run(
            [self.program(argv[0]), *argv[1:]],
            input=stdin,
            env=self.environment,
            capture_output=True,
            text=True,
            timeout=limit_s,
            check=False,
        )
        if done.returncode != 0:
            raise CommandFailed(f"{' '.join(argv)}: {done.stderr.strip() or done.stdout.strip()}")
        return done.stdout

    def program(self, name: str) -> str:
        """The program as found on our environment's PATH, not on the caller's."""
        for folder in self.environment.get("PATH", "").split(os.pathsep):
            if (path := Path(folder) / name).is_file():
                return str(path)
        return name

    def kubectl(self, *args: str, stdin: str | None = None) -> str:
        return self.run("kubectl", *args, stdin=stdin)

    def send(self, file: Path, *args: str, limit_s: float) -> None:
        """kubectl with `file` as its standard input."""
        argv = [self.program("kubectl"), *args]
        with file.open("rb") as content:
            done = subprocess.run(
                argv, stdin=content, env=self.environment, capture_output=True, timeout=limit_s, check=False
            )
        if done.returncode != 0:
            raise CommandFailed(f"{' '.join(args)}: {done.stderr.decode().strip()}")

    def popen(self, *args: str, interactive: bool = False) -> subprocess.Popen[str]:
        """kubectl in the background; its standard output is a pipe."""
        return subprocess.Popen(
            [self.program("kubectl"), *args],
            stdin=subprocess.PIPE if interactive else subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env=self.environment,
            text=True,
            bufsize=1,
        )

    def apply(self, objects: Sequence[Manifest]) -> None:
        """Server-side apply, as one who starts over would."""
        content = json.dumps({"apiVersion": "v1", "kind": "List", "items": list(objects)})
        args = ("apply", "--server-side", "--force-conflicts", "--field-manager=modelfleet-demo", "-f", "-")
        self.kubectl(*args, stdin=content)

    def get(self, kind: str, name: str, *, namespace: str) -> Manifest:
        found: Manifest = json.loads(self.kubectl("get", kind, name, "-n", namespace, "-o", "json"))
        return found

    def list(self, kind: str, *, namespace: str, selector: str = "") -> list[Manifest]:
        args = ["get", kind, "-n", namespace, "-o", "json", *(["-l", selector] if selector else [])]
        items: list[Manifest] = json.loads(self.kubectl(*args))["items"]
        return items


def wait_until(what: str, seen: Callable[[], bool], *, limit_s: float) -> None:
    """Poll until `seen`; raises NotSeen with `what` after limit_s seconds."""
    deadline = time.monotonic() + limit_s
    while not seen():
        if time.monotonic() > deadline:
            raise NotSeen(f"{what}: not seen in {limit_s:.0f} s")
        time.sleep(POLL_S)
