"""Which cluster the demo and the end-to-end tests use: the first that fits, and why.

Asked in this order: the context in E2E_CONTEXT, kind or k3d where docker works, the cluster built here.
Only contexts that look like playgrounds are taken; E2E_ALLOWED_CONTEXTS names others.
"""

import contextlib
import fnmatch
import json
import os
import shutil
import subprocess
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from e2e.cluster import gotools, local, paths
from e2e.cluster.imageset import RECIPES
from e2e.cluster.progress import say, step

Kind = Literal["context", "kind", "k3d", "built"]

PLAYGROUNDS = ("kind-*", "k3d-*", "minikube", "minikube-*")
NAME = "modelfleet"
PROBE_LIMIT_S = 15


@dataclass(frozen=True)
class Choice:
    kind: Kind
    why: str
    context: str = ""


@dataclass(frozen=True)
class Target:
    """A cluster to work with.  `built` is set when it is ours: only then is its network open to `command`."""

    choice: Choice
    kubeconfig: Path
    assets: Path
    built: local.Running | None = field(default=None)

    def kubectl(self, *args: str, stdin: str | None = None) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [self.assets / "kubectl", f"--kubeconfig={self.kubeconfig}", *args],
            input=stdin,
            capture_output=True,
            text=True,
            check=False,
        )


def choose(environ: Mapping[str, str], works: Callable[[Sequence[str]], bool]) -> Choice:
    """The decision alone; `works` runs a command and says whether it succeeded.

    Raises local.ClusterError for a context that is not on the list.
    """
    if context := environ.get("E2E_CONTEXT"):
        allowed = (*PLAYGROUNDS, *environ.get("E2E_ALLOWED_CONTEXTS", "").split(","))
        if not any(fnmatch.fnmatchcase(context, pattern) for pattern in allowed if pattern):
            raise local.ClusterError(
                f"E2E_CONTEXT={context} does not look like a playground ({', '.join(PLAYGROUNDS)}); if it is one, "
                f"say E2E_ALLOWED_CONTEXTS={context}"
            )
        return Choice("context", f"E2E_CONTEXT names {context}", context)
    if not works(["docker", "info"]):
        return Choice("built", "docker does not work here, so one is built from source packages")
    if works(["kind", "version"]):
        return Choice("kind", "docker and kind work here", f"kind-{NAME}")
    if works(["k3d", "version"]):
        return Choice("k3d", "docker and k3d work here", f"k3d-{NAME}")
    return Choice("built", "docker works here but neither kind nor k3d is installed")


@contextmanager
def cluster(*, kwok: bool = True, state: Path | None = None) -> Iterator[Target]:
    """The chosen cluster, ready; one that was started here ends with the block."""
    choice = choose(os.environ, works)
    say(f"cluster: {choice.kind} ({choice.why})")
    if choice.kind == "built":
        with local.cluster(state, kwok=kwok) as found:
            yield Target(choice, found.kubeconfig, found.assets, found)
        return
    with contextlib.ExitStack() as stack:
        if choice.kind != "context":
            stack.enter_context(_docker_cluster(choice.kind))
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        yield _target(choice, folder)


def _target(choice: Choice, folder: Path) -> Target:
    assets = gotools.assets(("kubectl", "helm"))
    kubeconfig = folder / "kubeconfig"
    view = [str(assets / "kubectl"), "config", "view", "--minify", "--flatten", f"--context={choice.context}"]
    result = subprocess.run([*view, "--output=json"], capture_output=True, text=True, check=False)
    if result.returncode != 0:
        raise local.ClusterError(f"the context {choice.context} cannot be used: {result.stderr.strip()}")
    kubeconfig.touch(mode=0o600)
    kubeconfig.write_text(json.dumps(json.loads(result.stdout)))
    target = Target(choice, kubeconfig, assets)
    if (ready := target.kubectl("get", "--raw", "/readyz")).returncode != 0:
        raise local.ClusterError(f"the cluster of {choice.context} does not answer: {ready.stderr.strip()}")
    return target


@contextmanager
def _docker_cluster(tool: Kind) -> Iterator[None]:
    """A kind or k3d cluster with our images; one that was there before is used, and stays."""
    commands = DOCKER[tool]
    listed = subprocess.run(commands.list, capture_output=True, text=True, check=False)
    existed = NAME in listed.stdout.split()
    if not existed:
        with step(f"creating a {tool} cluster", typical_s=90):
            _run(*commands.create)
    try:
        for recipe in RECIPES:
            with step(f"building and loading image {recipe.name}", typical_s=60):
                target = [f"--target={recipe.target}"] if recipe.target else []
                file = str(paths.REPO / recipe.dockerfile)
                _run("docker", "build", *target, f"--file={file}", f"--tag={recipe.tag}", str(paths.REPO))
                _run(*commands.load, recipe.tag)
        yield
    finally:
        if not existed:
            _run(*commands.delete)


@dataclass(frozen=True)
class _Commands:
    list: Sequence[str]
    create: Sequence[str]
    load: Sequence[str]
    delete: Sequence[str]


DOCKER: Mapping[Kind, _Commands] = {
    "kind": _Commands(
        list=("kind", "get", "clusters"),
        create=("kind", "create", "cluster", f"--name={NAME}"),
        load=("kind", "load", "docker-image", f"--name={NAME}"),
        delete=("kind", "delete", "cluster", f"--name={NAME}"),
    ),
    "k3d": _Commands(
        list=("k3d", "cluster", "list", "--no-headers"),
        create=("k3d", "cluster", "create", NAME),
        load=("k3d", "image", "import", f"--cluster={NAME}"),
        delete=("k3d", "cluster", "delete", NAME),
    ),
}


def works(argv: Sequence[str]) -> bool:
    if not shutil.which(argv[0]):
        return False
    try:
        return subprocess.run(argv, capture_output=True, timeout=PROBE_LIMIT_S, check=False).returncode == 0
    except (OSError, subprocess.TimeoutExpired):
        return False


def _run(*argv: str) -> None:
    result = subprocess.run(argv, capture_output=True, text=True, check=False)
    if result.returncode != 0:
        raise local.ClusterError(f"{' '.join(argv)} failed:\n{result.stderr[-2000:]}")
